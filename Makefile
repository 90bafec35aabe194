# The front door. `make demo` and `make test` are all a newcomer needs; both set everything up first.

.PHONY: help setup plugins build demo test bench clean

help:
	@echo "make setup    install compilers, test tools and the original's agent (once)"
	@echo "make build    target/release/freezer, with its plugins where it finds them"
	@echo "make plugins  only the plugins, into target/plugins"
	@echo "make demo     set up, build, back up a real tree, restore and compare it"
	@echo "make test     set up, build, run every test"
	@echo "make bench    measure against tar, openssl, restic and borg; BENCH='--quick' for a short one"

setup:
	plugins/build.sh setup
	tests/setup.sh

plugins:
	plugins/build.sh

# Plugins first: their digests are pinned into the binary.
build: plugins
	cargo build --release --locked -p freezer
	mkdir -p target/release/lib/freezer/plugins
	cp target/plugins/*.wasm target/release/lib/freezer/plugins/

demo:
	plugins/build.sh setup
	tests/setup.sh demo
	$(MAKE) build
	tests/demo.sh

test: setup build
	tests/run.sh

bench: setup build
	tests/setup.sh bench
	cargo build --release --locked -p freezer-plugin --example plugin-overhead --example plugin-load
	tests/bench/bench.py --json target/bench.json $(BENCH)

clean:
	cargo clean
	rm -rf .venv .venv-s3 .venv-mongo .mysql
