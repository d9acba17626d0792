"""Takes the pictures of ``docs/zabbix.md``: ``python -m docs.make_screenshots [SECONDS]``.

Real everything: a Zabbix server as the tests have it, a Samba server with clients that move data
for so long, nfszbx between them, and the dashboards in a browser (Debian's package chromium).
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from nfszbx.template.parts import TEMPLATE
from tests.live.demo import moving_clients
from tests.live.running import NFSZBX
from tests.live.samba import SambaServer
from tests.sinks.zabbix_programs import get_debian_13
from tests.sinks.zabbix_server import ZabbixServer

IMAGES = Path(__file__).parent / "images"
HOST = "fileserver.example.org"
PAGES = {"zabbix-overview": 1, "zabbix-clients": 2}
WINDOW = "1920,1080"


@contextmanager
def logged_in(zabbix: ZabbixServer) -> Iterator[str]:
    """The address of the frontend for a browser that need not log in."""
    cookie = zabbix.log_in()
    address = urlsplit(zabbix.frontend_url).netloc

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on(b"")

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

        def _pass_on(self, body: bytes) -> None:
            connection = HTTPConnection(address, timeout=60)
            kept = ("Content-Type", "X-Requested-With", "Accept")
            headers = {name: self.headers[name] for name in kept if self.headers[name]}
            connection.request(self.command, self.path, body, {**headers, "Cookie": cookie})
            answer = connection.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type", "text/html"))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def take_picture(url: str, path: Path, profile: Path) -> None:
    """As a browser shows the page when it has loaded what it loads."""
    offline = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    subprocess.run(
        [
            *("chromium", "--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu"),
            *(*offline, rules, f"--user-data-dir={profile}", "--hide-scrollbars"),
            *(f"--window-size={WINDOW}", "--virtual-time-budget=20000", f"--screenshot={path}"),
            url,
        ],
        check=True,
        capture_output=True,
        timeout=180,
    )


def run_nfszbx(zabbix: ZabbixServer, folder: Path, seconds: float) -> None:
    """Set the server up as a user does, and measure for so long."""
    settings = {
        **os.environ,
        "NFSZBX_ZABBIX__API__URL": zabbix.frontend_url,
        "NFSZBX_ZABBIX__API__TOKEN": zabbix.create_token(),
        "NFSZBX_ZABBIX__SERVERS": f"127.0.0.1:{zabbix.trapper_port}",
        "NFSZBX_ZABBIX__HOST": HOST,
        "NFSZBX_ZABBIX__CLIENTS_INTERVAL_SECONDS": "5",
        "NFSZBX_INTERVAL_SECONDS": "5",
        "NFSZBX_STATE_DIRECTORY": str(folder / "spool"),
        "NFSZBX_AUDIT_INTERVAL_SECONDS": "10",
    }
    subprocess.run([*NFSZBX, "zabbix", "install"], check=True, env=settings)
    with (
        SambaServer() as samba,
        moving_clients(samba),
        subprocess.Popen([*NFSZBX, "run", "--sink", "zabbix"], env=settings) as nfszbx,
    ):
        time.sleep(seconds)
        nfszbx.send_signal(signal.SIGTERM)


def main() -> None:
    """Measure, then take the pictures."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 660.0
    folder = Path(tempfile.mkdtemp(prefix="nfszbx-pictures-"))
    try:
        with ZabbixServer(folder, get_debian_13()) as zabbix:
            run_nfszbx(zabbix, folder, seconds)
            (host,) = zabbix.call("host.get", {"filter": {"host": HOST}, "output": ["hostid"]})
            wanted = {"filter": {"host": TEMPLATE}, "selectDashboards": ["dashboardid"]}
            (template,) = zabbix.call("template.get", wanted)
            (dashboard,) = template["dashboards"]
            IMAGES.mkdir(exist_ok=True)
            with logged_in(zabbix) as url:
                for name, page in PAGES.items():
                    query = (
                        f"action=host.dashboard.view&hostid={host['hostid']}&page={page}"
                        f"&dashboardid={dashboard['dashboardid']}&from=now-10m&to=now&kiosk=1"
                    )
                    take_picture(f"{url}/zabbix.php?{query}", IMAGES / f"{name}.png", folder / "b")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
