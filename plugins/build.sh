#!/bin/sh
# Builds every plugin below plugins/modes and plugins/storages into target/plugins/NAME.wasm and writes target/plugins/digests.
#
#   plugins/build.sh setup    installs what compiles for wasm32-wasip2, if it isn't there
#   plugins/build.sh          builds and packs
#   plugins/build.sh guests   the same for the hostile guests of the tests, into target/guests and without pinned digests
#
# Two ways to compile, tried in this order: rustup's wasm32-wasip2 target; else the distribution's rustc-web, which builds the
# standard library from source and borrows its linkers from the rustup toolchain.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

target=wasm32-wasip2
wasm_dir=$root/target/wasm
out_dir=$root/target/plugins
packages="rustc-web cargo-web rust-web-src wasi-libc"
wasi_libc=/usr/lib/wasm32-wasi
std_source=/usr/lib/rustlib/src/rust

say() { echo "plugins: $*" >&2; }
fail() { say "$*"; exit 1; }

rustup_has_target() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]
}

distribution_has_target() {
    [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -f $wasi_libc/libc.a ] && [ -e $std_source/library/std ]
}

install_packages() {
    command -v apt-get >/dev/null || fail "no $target for $(rustc --version), and no apt-get to install $packages"
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq"
    $apt update
    # shellcheck disable=SC2086 # lists of words
    $apt install -y --no-install-recommends $packages >/dev/null
}

setup() {
    rustup_has_target && return
    distribution_has_target && return
    if command -v rustup >/dev/null && timeout 120 rustup target add $target >/dev/null 2>&1 && rustup_has_target; then
        return
    fi
    say "rustup can't add $target here; installing $packages"
    install_packages
    distribution_has_target || fail "$packages are installed, but don't hold what is needed to compile for $target"
}

# The compiler's options, separated as cargo wants them so that folders may have spaces in their names. They make the folders of
# this machine invisible in the components: the same source gives the same bytes anywhere. The last match wins.
flags() {
    printf -- '--remap-path-prefix=%s=/freezer\037' "$root"
    printf -- '--remap-path-prefix=%s=/cargo\037' "${CARGO_HOME:-$HOME/.cargo}"
    printf -- '--remap-path-prefix=%s=/build\037' "$wasm_dir"
    printf -- '--remap-path-prefix=%s=/rust' "$1"
}

compile() {
    # shellcheck disable=SC2086 # a list of options
    if rustup_has_target; then
        CARGO_ENCODED_RUSTFLAGS=$(flags "$(rustc --print sysroot)/lib/rustlib/src/rust") \
            cargo build --quiet --profile plugin --target $target --target-dir "$wasm_dir" $1
        return
    fi
    sysroot=$(rustc --print sysroot)
    linkers=$sysroot/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
    [ -x "$linkers/wasm-component-ld" ] || fail "no wasm-component-ld in $linkers"
    CARGO_ENCODED_RUSTFLAGS=$(printf -- '-L\037native=%s\037' $wasi_libc; flags $std_source) \
        PATH="$linkers:$linkers/gcc-ld:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
        /usr/bin/cargo build --quiet --profile plugin --target $target --target-dir "$wasm_dir" \
        -Zbuild-std=std,panic_abort $1
}

# What makes plugins of components. With the features that freezer itself is built with, so that what both use is compiled once.
build_pack() {
    cargo build --quiet --release -p freezer -p freezer-format --bin freezer-pack
    pack=${CARGO_TARGET_DIR:-$root/target}/release/freezer-pack
}

# The names of the plugins' packages: "freezer-mode-fs", one for each folder.
packages_of_plugins() {
    for manifest in plugins/modes/*/Cargo.toml plugins/storages/*/Cargo.toml; do
        [ -f "$manifest" ] || continue
        sed -n 's/^name = "\(.*\)"$/\1/p' "$manifest" | head -n 1
    done
}

build() {
    rustup_has_target || distribution_has_target || fail "nothing here compiles for $target: run plugins/build.sh setup"
    compile "$(for package in $(packages_of_plugins); do printf -- '-p %s ' "$package"; done)"
    mkdir -p "$out_dir"
    build_pack
    digests=$out_dir/digests.new
    names=" "
    : >"$digests"
    for folder in plugins/modes/*/ plugins/storages/*/; do
        [ -f "$folder/plugin.toml" ] || continue
        name=$(basename "$folder")
        case $names in *" $name "*) fail "two plugins are named $name" ;; esac
        names="$names$name "
        package=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$folder/Cargo.toml" | head -n 1)
        component=$wasm_dir/$target/plugin/$(printf '%s' "$package" | tr - _).wasm
        "$pack" "$component" "$folder/plugin.toml" "$out_dir/$name.wasm.new" >>"$digests"
        keep_if_same "$out_dir/$name.wasm"
    done
    sort -k 2 -o "$digests" "$digests"
    keep_if_same "$out_dir/digests"
    remove_others
    say "$(wc -l <"$out_dir/digests") in $out_dir"
}

# Removes the components of plugins whose folders are gone: their digests are pinned no more.
remove_others() {
    for component in "$out_dir"/*.wasm; do
        case $names in *" $(basename "$component" .wasm) "*) ;; *) rm "$component" ;; esac
    done
}

guests() {
    rustup_has_target || distribution_has_target || fail "nothing here compiles for $target: run plugins/build.sh setup"
    compile "-p freezer-guest-storage -p freezer-guest-mode"
    build_pack
    mkdir -p "$root/target/guests"
    for kind in storage mode; do
        "$pack" "$wasm_dir/$target/plugin/freezer_guest_$kind.wasm" "tests/guests/$kind/plugin.toml" \
            "$root/target/guests/$kind.wasm" >/dev/null
    done
}

# Replaces FILE by FILE.new only if they differ: what depends on it is then not built again.
keep_if_same() {
    if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

case "${1:-build}" in
setup) setup ;;
build) build ;;
guests) guests ;;
*) fail "usage: plugins/build.sh [setup|guests]" ;;
esac
