#!/usr/bin/env bash
# Prepares this working copy; `make demo`, `make test`, `make bench` and `make coverage` call it.
#
#   scripts/setup.sh [GROUP...]           sets up what the groups need (default: test)
#   scripts/setup.sh --check [GROUP...]   names what is missing and changes nothing; exit 1 if any
#
# Groups: build, demo, test, bench. Afterwards .venv holds the project (editable, its extension
# built in release mode) with the development tools, and the system's packages are there as far
# as they may be installed: root installs them with apt, anybody else is told their names and
# what goes without them. Run again it only looks, and takes well under two seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # servers live there, an ordinary user's PATH does not

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

kernel=.venv/kernel

# --- What each group needs: probe, package, what goes without it ---------------------------------
# A probe is a program, a file (with a slash) or one of the shell functions below.
needs() {
    case $1 in
    build) cat <<-'TABLE' ;;
		gcc             gcc             the extension
		python_venv     python3-venv    everything
		python_headers  python3-dev     everything (python-pytun is built from source)
	TABLE
    demo) cat <<-'TABLE' ;;
		suricata_7      suricata        the demo, replay with Suricata, the golden tests
		haproxy         haproxy         the live demo
		nginx           nginx-light     the live demo
		sshd            openssh-server  the live demo
		ssh             openssh-client  the live demo
		curl            curl            the live demo
		nc_openbsd      netcat-openbsd  the live demo
		openssl         openssl         the live demo
		nsenter         util-linux      the live demo
		nft             nftables        the live demo
		ip              iproute2        looking around in the live demo
	TABLE
    test) cat <<-'TABLE' ;;
		suricata_7      suricata        the demo, replay with Suricata, the golden tests
		ip              iproute2        the recordings and their tests
		ethtool         ethtool         the recordings and their tests
		unshare         util-linux      the recordings and their tests
		nft             nftables        the setup stage's tests
		iptables        iptables        the setup stage's tests
		ipset           ipset           the setup stage's tests
		vtysh           frr             the tests of BGP EVPN
		haproxy         haproxy         the recordings and their tests
		nginx           nginx-light     the recordings and their tests
		sshd            openssh-server  the recordings and their tests
		ssh             openssh-client  the recordings and their tests
		curl            curl            the recordings and their tests
		nc_openbsd      netcat-openbsd  the recordings and their tests
		openssl         openssl         the recordings and their tests
		dumpcap         tshark          the recordings and their tests
		tshark          tshark          the golden tests
		editcap         tshark          the golden tests
		c++             g++             the fuzz targets
		pcap_library    libpcap0.8      replay --filter
		nft             nftables        the proxies' tests
		iptables        iptables        the proxies' tests
		shellcheck      shellcheck      the check of the shell scripts
		systemd-analyze systemd         the check of the unit
		setpriv         util-linux      the tests of privileges
		redis-server    redis-server    the tests of the Redis sink
		rsyslogd        rsyslog         the tests of the syslog sink
		rsyslog_tls     rsyslog-gnutls  the tests of the syslog sink with TLS
		chromium        chromium        the tests of the page in a browser
		promtool        prometheus      the tests of the rules for Prometheus
		nginx_stream    libnginx-mod-stream  the proxies' tests with nginx in their places
		machine_qemu    qemu-system-x86 the tests in a virtual machine
		machine_kernel  linux-image-amd64 the tests in a virtual machine
		busybox_static  busybox-static  the tests in a virtual machine
		modprobe        kmod            the tests in a virtual machine
	TABLE
    bench) cat <<-'TABLE' ;;
		suricata_7      suricata        the comparison with Suricata's own cost
		tcprewrite      tcpreplay       the comparison with tcprewrite
		editcap         tshark          the comparison with editcap
		jq              jq              the comparison of EVE correction
		fever           fever           the comparison of the relay of events
		redis-server    redis-server    the relay's cost into Redis
		valgrind        valgrind        instructions per packet
		ab              apache2-utils   the comparison of the proxies with HAProxy
		haproxy         haproxy         the comparison of the proxies with HAProxy
		nginx           nginx-light     the comparison of the proxies with HAProxy
	TABLE
    *) fail "unknown group '$1'; groups are build, demo, test, bench" ;;
    esac
}

python_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }
python_headers() { python3 -c 'import pathlib, sys, sysconfig; sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").is_file())'; }
pcap_library() { compgen -G '/usr/lib/*/libpcap.so*' >/dev/null || compgen -G '/usr/lib*/libpcap.so*' >/dev/null; }
# In its own place: nginx of another origin has its modules elsewhere, and takes no other's.
nginx_stream() { [[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]]; }
# Only the BSD variant has -U, and only it takes a source port together with IPv6.
nc_openbsd() { have nc && [[ "$(nc -h 2>&1)" == *OpenBSD* ]]; }
# The virtual machine is for x86_64; elsewhere its tests say so, and nothing is missing.
machine_qemu() { [[ $(uname -m) != x86_64 ]] || have qemu-system-x86_64; }
machine_kernel() {
    [[ $(uname -m) != x86_64 ]] || compgen -G "$kernel/boot/vmlinuz-*" >/dev/null || own_kernel
}
busybox_static() { have busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1; }
# A kernel that this machine could boot itself, with the modules that the tests are about.
own_kernel() {
    local image
    for image in /boot/vmlinuz-*; do
        [[ -r $image && -n "$(find "/lib/modules/${image#/boot/vmlinuz-}/kernel/drivers/net" -name 'vrf.ko*' 2>/dev/null)" ]] &&
            return
    done
    return 1
}
suricata_7() {
    local version
    have suricata || return 1
    version=$(suricata -V 2>/dev/null) || return 1
    [[ $version =~ version\ ([0-9]+)\. ]] && ((BASH_REMATCH[1] >= 7))
}

rsyslog_tls() { compgen -G '/usr/lib/*/rsyslog/lmnsd_gtls.so' >/dev/null; }

present() {
    if declare -F "$1" >/dev/null; then "$1"; else have "$1"; fi
}

# Prints "package<TAB>what goes without it" for each need that is not met.
missing() {
    local group probe package without
    for group in "$@"; do
        while read -r probe package without; do
            present "$probe" || printf '%s\t%s\n' "$package" "$without"
        done < <(needs "$group")
    done | sort -u
}

# --- System packages -----------------------------------------------------------------------------
policy=/usr/sbin/policy-rc.d
policy_is_ours=false
remove_policy() { if $policy_is_ours; then rm -f "$policy"; policy_is_ours=false; fi; }
trap remove_policy EXIT

# A package must not start its service here: these are servers, and this is somebody's machine.
forbid_services() {
    [[ -e $policy ]] && return
    policy_is_ours=true
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

# Nor may it start at the next boot, when it was installed only for this project's tests.
disable_services() {
    local package
    have systemctl || return 0
    for package in "$@"; do
        case $package in
        suricata | haproxy | redis-server | rsyslog | prometheus | fever | frr)
            systemctl disable --quiet "$package" 2>/dev/null || true
            ;;
        nginx-light) systemctl disable --quiet nginx 2>/dev/null || true ;;
        openssh-server) systemctl disable --quiet ssh ssh.socket 2>/dev/null || true ;;
        esac
    done
}

# Reads of which version of a package apt would install, "" when it knows none.
candidate() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p'; }
major_of() { # 1:7.0.10-1 -> 7
    local version=${1#*:}
    printf '%s' "${version%%.*}"
}

# The option of the apt source that names its keyring, as this machine's own source has it. apt does
# not tell it, so the files are read: deb822 stanzas and one-line entries, whichever names the suite.
keyring_of_suite() { # SUITE
    local file files=()
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        [[ ! -r $file ]] || files+=("$file") # awk would end at one that is not there
    done
    ((${#files[@]})) || return 0
    awk -v suite="$1" '
        FNR == 1 { key = ""; hit = 0 }
        FILENAME ~ /\.list$/ {
            if ($1 == "deb" && $0 ~ ("[ \t]" suite "[ \t]") && match($0, /signed-by=[^] \t]+/))
                { print substr($0, RSTART + 10, RLENGTH - 10); exit }
            next
        }
        /^[ \t]*$/ { key = ""; hit = 0 }
        tolower($1) == "suites:" { for (i = 2; i <= NF; i++) if ($i == suite) hit = 1 }
        tolower($1) == "signed-by:" && $2 ~ /^\// { key = $2 }
        hit && key != "" { print key; exit }
    ' "${files[@]}"
}

# Debian 12 carries Suricata 6; its backports carry 7. Mirror and keyring are those from which this
# machine already takes its main suite.
add_backports() {
    local codename suite mirror keyring file
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    [[ -n $codename ]] || return 1
    suite=$codename-backports
    # The $(FIELDS) are apt's own.
    # shellcheck disable=SC2016
    if apt-get indextargets --format '$(RELEASE) $(COMPONENT)' "Created-By: Packages" | grep -qx "$suite main"; then
        return 0
    fi
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(ORIGIN) $(REPO_URI)' "Created-By: Packages" |
        awk -v suite="$codename" '$1 == suite && $2 == "main" && $3 == "Debian" { print $4; exit }')
    [[ -n $mirror ]] || return 1
    keyring=$(keyring_of_suite "$codename")
    file=/etc/apt/sources.list.d/peeltap-backports.sources
    say "adding $suite of this machine's own mirror ($file)"
    {
        printf '# Written by the set-up script of peeltap, which needs Suricata 7.\n'
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n' "$mirror" "$suite"
        [[ -z $keyring ]] || printf 'Signed-By: %s\n' "$keyring"
    } >"$file"
    apt-get update -qq -o Dir::Etc::sourcelist="$file" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0
}

# The virtual machine's kernel is unpacked and not installed: a kernel that is installed gets an
# entry in the boot menu, and this machine's next start might be with it. Of the modules only what the
# machine can use is kept. Needs no root.
unpack_kernel() {
    local package draft
    package=$(LC_ALL=C apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [[ -n $package ]] || { say "apt knows no package linux-image-amd64" && return 1; }
    say "unpacking $package into $kernel, for a virtual machine"
    mkdir -p "$(dirname "$kernel")"
    draft=$(mktemp -d "$kernel.XXXXXX")
    if (cd "$draft" && apt-get download -qq -o APT::Sandbox::User=root "$package" >/dev/null) &&
        dpkg-deb --fsys-tarfile "$draft"/*.deb | tar -x -C "$draft" --wildcards './boot/vmlinuz-*' \
            '*/modules/*/modules.*' '*/modules/*/kernel/net/*' '*/modules/*/kernel/lib/*' \
            '*/modules/*/kernel/crypto/*' '*/modules/*/kernel/fs/[9fn]*' '*/modules/*/kernel/drivers/virtio/*' \
            '*/kernel/drivers/net/vrf.ko*' '*/kernel/drivers/net/veth.ko*' '*/kernel/drivers/net/tun.ko*'; then
        rm "$draft"/*.deb
        [[ -e $draft/lib ]] || ln -s usr/lib "$draft/lib"
        if depmod -b "$draft" "$(basename "$draft"/lib/modules/*)" && rm -rf "$kernel" && mv "$draft" "$kernel"; then
            return
        fi
    fi
    rm -rf "$draft"
    say "the kernel of $package could not be unpacked"
    return 1
}

install_packages() { # PACKAGE...
    local packages=() plain=() package codename unpack=false
    for package in "$@"; do
        if [[ $package == linux-image-amd64 ]]; then unpack=true; else packages+=("$package"); fi
    done
    export DEBIAN_FRONTEND=noninteractive
    if ! have apt-get; then
        say "this machine has no apt; please install yourself: ${packages[*]}"
        return 0
    fi
    if ((EUID != 0)); then
        ((${#packages[@]} == 0)) ||
            say "not root, so nothing is installed; as root: apt-get install ${packages[*]}"
        if $unpack; then unpack_kernel || true; fi
        return 0
    fi
    forbid_services
    ((${#packages[@]} == 0)) || say "installing ${packages[*]}"
    apt-get update -qq || say "apt could not refresh its lists; going on with those it has"
    for package in "${packages[@]}"; do
        [[ $package == suricata ]] || plain+=("$package")
    done
    if ((${#plain[@]})) && ! apt-get install -y -qq --no-install-recommends "${plain[@]}" >/dev/null; then
        # One package that this release lacks must not keep away all the others.
        for package in "${plain[@]}"; do
            apt-get install -y -qq --no-install-recommends "$package" >/dev/null || say "apt could not install $package"
        done
    fi
    if [[ " ${packages[*]} " == *" suricata "* ]]; then
        if (($(major_of "$(candidate suricata)" | grep -E '^[0-9]+$' || echo 0) >= 7)); then
            apt-get install -y -qq --no-install-recommends suricata >/dev/null || say "apt could not install suricata"
        elif add_backports; then
            # shellcheck source=/dev/null
            codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
            apt-get install -y -qq --no-install-recommends -t "$codename-backports" suricata >/dev/null ||
                say "apt could not install suricata from $codename-backports"
        else
            say "no Suricata 7 among this machine's package sources"
        fi
    fi
    remove_policy
    disable_services "${packages[@]}"
    # Last: it needs depmod.
    if $unpack; then unpack_kernel || true; fi
}

report_missing() {
    local line
    while IFS=$'\t' read -r line; do
        say "missing: ${line%%$'\t'*} (goes without: ${line#*$'\t'})"
    done <<<"$1"
}

# --- The virtual environment and the extension -----------------------------------------------------
stamp=.venv/.peeltap-stamp
fingerprint() {
    {
        python3 -V
        have cargo && cargo -V
        pwd
        sha256sum pyproject.toml core/Cargo.toml core/Cargo.lock
        find core/src -type f -print0 | sort -z | xargs -0 sha256sum
    } | sha256sum | cut -d' ' -f1
}

environment_ready() {
    [[ -x .venv/bin/peeltap && -e $stamp && "$(<"$stamp")" == "$(fingerprint)" ]]
}

python_is_new_enough() { python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

make_environment() {
    local log=.venv/setup.log
    [[ -x .venv/bin/python ]] || python3 -m venv .venv
    say "installing the project into .venv (builds the extension; a minute or two the first time)"
    if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        fail "the installation failed; its whole log is in $log"
    fi
    fingerprint >"$stamp"
}

require_rust() {
    have cargo && return
    [[ -x $HOME/.cargo/bin/cargo ]] && PATH="$HOME/.cargo/bin:$PATH" && return
    fail "the extension needs Rust: install it with rustup or 'apt install rustup && rustup default stable', then run this again."
}

# --- Main ------------------------------------------------------------------------------------------
check_only=false
groups=()
for argument in "$@"; do
    case $argument in
    --check) check_only=true ;;
    -h | --help)
        sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"
        exit 0
        ;;
    *)
        needs "$argument" >/dev/null
        groups+=("$argument")
        ;;
    esac
done
((${#groups[@]})) || groups=(test)
groups=(build "${groups[@]}")

lacking=$(missing "${groups[@]}")
if $check_only; then
    [[ -z $lacking ]] || report_missing "$lacking"
    have cargo || [[ -x $HOME/.cargo/bin/cargo ]] || say "missing: Rust (goes without: everything)"
    python_is_new_enough || say "missing: Python 3.11 or newer (goes without: everything)"
    ready=true
    environment_ready || { ready=false && say "missing: .venv with this state of the sources"; }
    [[ -z $lacking ]] && have cargo && python_is_new_enough && $ready
    exit
fi

if [[ -n $lacking ]]; then
    mapfile -t packages < <(cut -f1 <<<"$lacking" | sort -u)
    install_packages "${packages[@]}"
    lacking=$(missing "${groups[@]}")
    [[ -z $lacking ]] || report_missing "$lacking"
fi
python_is_new_enough || fail "peeltap needs Python 3.11 or newer as python3; this machine's is $(python3 -V 2>&1)."
python_venv || fail "python3 cannot make virtual environments; install python3-venv and run this again."
require_rust
environment_ready || make_environment
