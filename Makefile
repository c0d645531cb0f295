# `make` prints what there is. Tools beyond Rust itself are installed into .tools/ when a target needs them.

BUF := $(CURDIR)/.tools/npm/node_modules/.bin/buf
DENY := .tools/bin/cargo-deny
PYTEST := .tools/venv/bin/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help run test test-rust test-redis test-kill test-clock test-clients test-k6 clients model check fuzz fuzz-corpus proto-reference fmt bench \
	bench-allocations bench-cost bench-goodput clean

help: ## prints this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## builds and starts the service on 127.0.0.1:50051 with an embedded RAM, no AWS account needed
	cargo run --locked -- serve --sandbox

test: test-rust test-redis test-kill test-clock test-clients clients ## runs every test, installing what they need

test-rust: ## runs the Rust tests alone: no Python, Node, Go or network
	cargo test --locked

test-redis: ## runs the tests with real Redis servers, and with Valkey where valkey-server is on PATH
	scripts/tools.sh redis
	cargo test --locked --test redis_store --test replicas

test-kill: ## kills the service at every named point and 200 times at random
	cargo test --locked --features failpoints --test kill_matrix -- --show-output

test-clock: ## sets the wall clock while calls are under way, with libfaketime
	scripts/tools.sh faketime
	cargo test --locked --test clock_jumps

test-clients: ## runs the tests with grpcurl, buf curl, ghz, boto3, moto and Python's gRPC against the built binary
	scripts/tools.sh python grpcurl buf ghz
	cargo build --locked
	$(PYTEST) tests/real_clients

# Not part of `make test`: k6 comes as source only, and its build takes longer than all other tests with real clients.
test-k6: ## runs a k6 script against the built binary; builds k6 first, which takes minutes
	scripts/tools.sh python k6
	cargo build --locked
	$(PYTEST) tests/real_clients -m k6

clients: ## builds the clients in Go, Python, Node, Java and Rust, and prints what each sees of the service
	scripts/tools.sh clients
	cargo build --locked
	python3 clients/run.py
	python3 -m unittest discover clients/tests

model: ## explores the idempotency rules to the end: minutes, and 2 GB of memory
	cargo test --locked --release --test model -- --ignored --show-output

check: ## checks format, lints, documentation, the contract and the dependencies
	cargo fmt --all -- --check
	cargo clippy --locked --all-targets --features failpoints -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	scripts/tools.sh buf cargo-deny protoc-gen-doc
	cd proto && $(BUF) lint && $(BUF) breaking --against released/ramfacade.binpb
	cd proto && $(BUF) generate --output ../.tools/contract && diff ../docs/api.md ../.tools/docs/api.md
	python3 -m unittest discover tests/contract
	$(DENY) --locked check --hide-inclusion-graph licenses bans sources
	scripts/advisories.sh

# Nightly's flags on the stable compiler: the code tells the fuzzer what an input reached. Without the address sanitizer:
# what it finds needs `unsafe`, which this project forbids, and it slows the build and every input down.
CARGO_FUZZ := RUSTC_BOOTSTRAP=1 ../.tools/bin/cargo-fuzz fuzz
FUZZ_TARGETS := rules files records tokens requests

fuzz: ## feeds the parsers and the door for FUZZ_SECONDS (60) each; needs a C++ compiler
	scripts/tools.sh cargo-fuzz
	cd fuzz && for target in $(FUZZ_TARGETS); do mkdir -p found/$$target corpus/$$target; \
		$(CARGO_FUZZ) run --fuzz-dir . --sanitizer none $$target found/$$target corpus/$$target seeds/$$target -- \
			-max_total_time=$${FUZZ_SECONDS:-60} -max_len=16384 -timeout=20 -dict=words.dict || exit 1; \
	done

fuzz-corpus: ## keeps of what `make fuzz` found the little that reaches as much, for `cargo test` to feed
	cd fuzz && for target in $(FUZZ_TARGETS); do mv corpus/$$target found/before-$$target && mkdir corpus/$$target && \
		$(CARGO_FUZZ) run --fuzz-dir . --sanitizer none $$target corpus/$$target found/before-$$target found/$$target -- \
			-merge=1 -set_cover_merge=1 -use_counters=0 -max_len=4096 && rm -r found/before-$$target || exit 1; \
	done

proto-reference: ## writes docs/api.md from the comments of the contract
	scripts/tools.sh buf protoc-gen-doc
	cd proto && $(BUF) generate

fmt: ## formats the code
	cargo fmt --all

bench: bench-allocations ## measures what idempotency costs, in under 5 minutes, and writes docs/bench
	cargo bench --locked --bench idempotency

bench-goodput: ## plays RAM's rate limit in virtual time, with the SDK alone and with the facade, and writes docs/bench
	cargo bench --locked --bench goodput

bench-cost: ## measures what the facade costs beside a handler written by hand, in under 12 minutes, and writes docs/bench
	scripts/tools.sh h2load redis
	cargo bench --locked --bench cost

bench-allocations: ## counts what a replay allocates beside a bare echo, in seconds, and writes docs/bench
	cargo bench --locked --bench allocations

clean: ## removes what was built and the installed tools
	cargo clean
	rm -rf .tools clients/python/build clients/python/*.egg-info clients/node/node_modules clients/node/generated clients/node/dist
	rm -rf clients/java/target clients/rust/target
