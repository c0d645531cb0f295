#!/usr/bin/env bash
# Checks the locked dependencies against the RustSec advisories.
#
# By default cargo-deny fetches the database. If RAM_FACADE_ADVISORY_DB names a directory with a copy of it (a checkout
# or just its files), that copy is used and nothing is fetched: for machines without a way to it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deny() { .tools/bin/cargo-deny --locked check --hide-inclusion-graph "$@" advisories; }

# The directory that deny.toml names. Started anew each time, so that neither kind of database meets the other.
clones=.tools/advisory-dbs
rm -rf "$clones"

copy=${RAM_FACADE_ADVISORY_DB:-}
if [[ -z $copy ]]; then
    deny
    exit
fi

[[ -d $copy/crates ]] || { echo "advisories: RAM_FACADE_ADVISORY_DB=$copy has no directory crates" >&2; exit 1; }
echo "advisories: from $copy"
mirror=$(mktemp -d)
trap 'rm -rf "$mirror" "$clones"' EXIT

# cargo-deny takes a database only from a git clone of an address with a host name. So the copy becomes a repository,
# and git, which does the fetching, is told that it stands in for the address.
cp -R "$copy/crates" "$mirror/"
git -C "$mirror" init --quiet --initial-branch=main
git -C "$mirror" add --all
git -C "$mirror" -c user.name=copy -c user.email=copy@localhost -c commit.gpgsign=false \
    commit --quiet --no-verify --message 'a copy of the advisories'
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$mirror.insteadOf"
export GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db
deny
