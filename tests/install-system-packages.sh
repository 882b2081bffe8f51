#!/bin/sh
# Installs the system packages that pip cannot install. `build`: the compiler and headers for mysqlclient; `server`: a
# MySQL-compatible server for the tests; `tools`: a browser, and Prometheus' promtool, for the tests of the admin and of
# the alert rules. Without root or sudo, it prints the packages to install and exits with 1.
set -eu

python=${PYTHON:-python3}
missing=
case ${1:-} in
build)
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        echo "Python 3.11 or newer is required, but \`$python\` is missing or older. Choose another one: make PYTHON=python3.12 ..." >&2
        exit 1
    }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    command -v cc >/dev/null || missing="$missing build-essential"
    command -v pkg-config >/dev/null || missing="$missing pkg-config"
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || missing="$missing python3-dev"
    pkg-config --exists mysqlclient 2>/dev/null || pkg-config --exists libmariadb 2>/dev/null ||
        missing="$missing default-libmysqlclient-dev"
    ;;
server)
    PATH="$PATH:/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/local/mysql/bin"
    [ -n "${DATABASE_HOST:-}${MYSQL_SERVER:-}" ] || command -v mariadbd >/dev/null || command -v mysqld >/dev/null ||
        missing=" mariadb-server"
    ;;
tools)
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
        missing="$missing chromium"
    command -v promtool >/dev/null || missing="$missing prometheus"
    ;;
*)
    echo "usage: install-system-packages.sh build|server|tools" >&2
    exit 2
    ;;
esac
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
    sudo -n true 2>/dev/null || as_root=none
fi
if [ "$as_root" = none ] || ! command -v apt-get >/dev/null; then
    echo "Missing system packages:$missing. Install them (Debian, Ubuntu: sudo apt-get install$missing) and run this command again." >&2
    exit 1
fi
echo "Installing with apt-get:$missing ..."
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# Keep the package from starting a system-wide server: the tests start their own.
policy=
if [ -z "$as_root" ] && [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
# shellcheck disable=SC2086  # both are lists to be split
if $as_root apt-get -qq update >"$log" 2>&1 && $as_root apt-get -qq -y --no-install-recommends install $missing >>"$log" 2>&1; then
    status=0
else
    status=1
    tail -n 20 "$log" >&2
    echo "apt-get could not install:$missing" >&2
fi
rm -f "$log"
[ -z "$policy" ] || rm -f "$policy"
exit $status
