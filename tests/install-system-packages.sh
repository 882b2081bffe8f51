#!/bin/sh
# Installs the system packages that pip cannot install: install-system-packages.sh [build] [server] [tools] [model]
#   build   the compiler and headers for mysqlclient
#   server  a MySQL-compatible server for the tests
#   tools   a browser, and Prometheus' promtool, for the tests of the admin and of the alert rules
#   model   SPIN, and the compiler that it needs, for the model of the outbox protocol
# It prints the command before it runs it. Without root, sudo or apt-get, and with SYSTEM_PACKAGES=no, it only prints it.
# Packages for the build that stay missing are an error (exit code 1). Without the others tests are skipped, or fail and
# say so; they are an error where CI or SYSTEM_PACKAGES is set.
set -eu

python=${PYTHON:-python3}

find_missing_for_build() {
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
}

find_missing_for_server() (
    PATH="$PATH:/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/local/mysql/bin"
    [ -n "${DATABASE_HOST:-}${MYSQL_SERVER:-}" ] || command -v mariadbd >/dev/null || command -v mysqld >/dev/null ||
        echo " mariadb-server"
)

find_missing_for_tools() {
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
        missing="$missing chromium"
    command -v promtool >/dev/null || missing="$missing prometheus"
}

find_missing_for_model() {
    command -v spin >/dev/null || missing="$missing spin"
    command -v gcc >/dev/null || missing="$missing gcc"
}

missing=
is_required=${CI:-}${SYSTEM_PACKAGES:-}
for group in "$@"; do
    case $group in
    build)
        find_missing_for_build
        [ -z "$missing" ] || is_required=yes
        ;;
    server) missing="$missing$(find_missing_for_server)" ;;
    tools) find_missing_for_tools ;;
    model) find_missing_for_model ;;
    *)
        echo "usage: install-system-packages.sh [build] [server] [tools] [model]" >&2
        exit 2
        ;;
    esac
done
[ -n "$missing" ] || exit 0

as_root=
[ "$(id -u)" -eq 0 ] || as_root="sudo "
command="${as_root}apt-get -qq update && ${as_root}apt-get -qq -y --no-install-recommends install$missing"

may_install() {
    [ "${SYSTEM_PACKAGES:-yes}" = yes ] && command -v apt-get >/dev/null && { [ -z "$as_root" ] || sudo -n true 2>/dev/null; }
}
if ! may_install; then
    {
        echo "Missing system packages:$missing. Install them and run this command again. On Debian and Ubuntu:"
        echo "    $command"
    } >&2
    [ -z "$is_required" ]
    exit
fi
echo "Installing system packages; SYSTEM_PACKAGES=no prevents this. The command:"
echo "    $command"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# Keep the package from starting a system-wide server: the tests start their own.
policy=
if [ -z "$as_root" ] && [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
status=0
sh -c "$command" >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    echo "apt-get could not install:$missing" >&2
    [ -z "$is_required" ] || status=1
}
rm -f "$log"
[ -z "$policy" ] || rm -f "$policy"
exit $status
