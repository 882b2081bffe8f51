#!/bin/sh
# Sees to the system packages that pip cannot bring: `install-system-packages.sh build` (to compile mysqlclient), `install-system-packages.sh server`
# (a MySQL-compatible server for the tests). Installs them where it may, else says in one message what to install.
set -eu

python=${PYTHON:-python3}
wanted=
case ${1:-} in
build)
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        echo "Python 3.11 or newer is needed; \`$python\` is not. Name another one: make PYTHON=python3.12 ..." >&2
        exit 1
    }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || wanted="$wanted python3-venv"
    command -v cc >/dev/null || wanted="$wanted build-essential"
    command -v pkg-config >/dev/null || wanted="$wanted pkg-config"
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || wanted="$wanted python3-dev"
    pkg-config --exists mysqlclient 2>/dev/null || pkg-config --exists libmariadb 2>/dev/null ||
        wanted="$wanted default-libmysqlclient-dev"
    ;;
server)
    PATH="$PATH:/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/local/mysql/bin"
    [ -n "${DATABASE_HOST:-}" ] || command -v mariadbd >/dev/null || command -v mysqld >/dev/null ||
        wanted=mariadb-server
    ;;
*)
    echo "usage: install-system-packages.sh build|server" >&2
    exit 2
    ;;
esac
[ -n "$wanted" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
    sudo -n true 2>/dev/null || as_root=none
fi
if [ "$as_root" = none ] || ! command -v apt-get >/dev/null; then
    echo "Please install:$wanted   (Debian and Ubuntu: sudo apt-get install$wanted), then run this again." >&2
    exit 1
fi
echo "Installing with apt-get:$wanted ..."
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# A server that the package would start is not wanted: the tests start their own.
policy=
if [ -z "$as_root" ] && [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
# shellcheck disable=SC2086  # both are lists of words
if $as_root apt-get -qq update >"$log" 2>&1 && $as_root apt-get -qq -y --no-install-recommends install $wanted >>"$log" 2>&1; then
    status=0
else
    status=1
    tail -n 20 "$log" >&2
    echo "apt-get could not install:$wanted" >&2
fi
rm -f "$log"
[ -z "$policy" ] || rm -f "$policy"
exit $status
