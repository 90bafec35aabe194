"""Fills a fresh Keystone, and enters services into its catalogue, by its own API.

    keystone_admin.py URL users DIR              projects, users, an application credential; their files into DIR
    keystone_admin.py URL endpoint TYPE ADDRESS  a service with that address for all interfaces
"""

import json
import os
import sys
import urllib.request

ADMIN = ("admin", "secret", "admin")
# user: project, role
USERS = {
    "demo": ("demo", "member"),
    "reader": ("demo", "reader"),
    "other": ("other", "member"),
    "service": ("service", "admin"),
}


class Keystone:
    """One login."""

    def __init__(self, url, user, password, project):
        self.url, self.token = url, None
        default = {"name": "Default"}
        answer, headers = self.ask("POST", "/auth/tokens", {"auth": {
            "identity": {"methods": ["password"], "password": {
                "user": {"name": user, "domain": default, "password": password}}},
            "scope": {"project": {"name": project, "domain": default}}}})
        self.token = headers["X-Subject-Token"]
        self.user = answer["token"]["user"]["id"]

    def ask(self, method, path, document=None):
        content = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self.url + path, content, method=method)
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("X-Auth-Token", self.token)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return json.loads(text) if text else None, answer.headers

    def named(self, kind, name, **facts):
        """The id of the thing of that name, made if need be."""
        plural = kind + "s"
        found, _ = self.ask("GET", f"/{plural}?name={name}")
        if found[plural]:
            return found[plural][0]["id"]
        made, _ = self.ask("POST", f"/{plural}", {kind: {"name": name, **facts}})
        return made[kind]["id"]


def write(directory, name, lines):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
        file.write("".join(line + "\n" for line in lines))


def rc_lines(url, user, password, project):
    return [
        f"export OS_AUTH_URL={url}",
        "export OS_IDENTITY_API_VERSION=3",
        "export OS_REGION_NAME=RegionOne",
        f"export OS_USERNAME={user}",
        f'export OS_PASSWORD="{password}"',
        f"export OS_PROJECT_NAME={project}",
        "export OS_USER_DOMAIN_NAME=Default",
        "export OS_PROJECT_DOMAIN_NAME=Default",
    ]


def make_users(url, directory):
    admin = Keystone(url, *ADMIN)
    roles = {role: admin.named("role", role) for role in ("admin", "member", "reader", "service")}
    clouds = ["clouds:"]
    for user, (project, role) in USERS.items():
        project_id = admin.named("project", project, domain_id="default")
        password = f"{user}-secret"
        user_id = admin.named("user", user, domain_id="default", password=password)
        admin.ask("PUT", f"/projects/{project_id}/users/{user_id}/roles/{roles[role]}")
        write(directory, f"{user}.osrc", rc_lines(url, user, password, project))
        clouds += [
            f"  {user}:",
            "    region_name: RegionOne",
            "    identity_api_version: 3",
            "    auth:",
            f"      auth_url: {url}",
            f"      username: {user}",
            f"      password: {password}",
            f"      project_name: {project}",
            "      user_domain_name: Default",
            "      project_domain_name: Default",
        ]
    write(directory, "clouds.yaml", clouds)
    demo = Keystone(url, "demo", "demo-secret", "demo")
    made, _ = demo.ask("POST", f"/users/{demo.user}/application_credentials",
                       {"application_credential": {"name": "backup"}})
    credential = made["application_credential"]
    write(directory, "credential.osrc", [
        "export OS_AUTH_TYPE=v3applicationcredential",
        f"export OS_AUTH_URL={url}",
        "export OS_REGION_NAME=RegionOne",
        f"export OS_APPLICATION_CREDENTIAL_ID={credential['id']}",
        f"export OS_APPLICATION_CREDENTIAL_SECRET={credential['secret']}",
    ])


def enter(url, kind, address):
    admin = Keystone(url, *ADMIN)
    services, _ = admin.ask("GET", f"/services?type={kind}")
    for service in services["services"]:
        admin.ask("DELETE", f"/services/{service['id']}")
    made, _ = admin.ask("POST", "/services", {"service": {"type": kind, "name": kind}})
    for interface in ("public", "internal", "admin"):
        admin.ask("POST", "/endpoints", {"endpoint": {
            "service_id": made["service"]["id"], "interface": interface, "url": address, "region_id": "RegionOne"}})


if __name__ == "__main__":
    _, base, action, *rest = sys.argv
    {"users": make_users, "endpoint": enter}[action](base, *rest)
