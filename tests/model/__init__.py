"""A model of the outbox protocol, what checks it, and what checks recorded events against its rules."""
