from gisttracker.common.apps import ServiceApp


class PeopleConfig(ServiceApp):
    name = "people"
    default = True
    header = {"Person": "People", "Gist": "Gists"}
