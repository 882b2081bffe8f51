"""A GitHub with as many people as a demo or a trial requests."""

import re

from tests.standins.github import Account, GitHubStandIn


class CrowdedGitHub(GitHubStandIn):
    """An account whose login ends with `-has-N-gists` exists, with that many gists, from its first request on."""

    def _named(self, login: str) -> Account:
        match = re.search(r"-has-(\d+)-gists$", login)
        if match and login.lower() not in self._by_login:
            self.add_account(login)
            for number in range(int(match[1])):
                self.publish(login, f"Gist {number + 1} of {login}")
        return super()._named(login)
