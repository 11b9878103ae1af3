# shellcheck shell=sh
# Sourced by scripts/demo and scripts/test: leaves $python, a virtual environment's Python with comp in it.
# Usage: . scripts/setup.sh; make_environment "$root" EXTRA     (EXTRA: "" or "test")
# Uses the active virtual environment, else makes .venv in the repository; installs only what changed.

say() {
    printf '%s\n' "comp: $*" >&2
}

fail() {
    say "$@"
    exit 2
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

has_pip() {
    "$1" -m pip --version >/dev/null 2>&1
}

# Print a Python of at least 3.11. Each is started: a name on PATH is not yet a Python that runs.
find_python() {
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if new_enough "$candidate"; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    found=$(python3 --version 2>&1 || true)
    fail "needs Python 3.11 or later; none of python3.13, python3.12, python3.11, python3 is (python3: $found)." \
        "Install one, or activate a virtual environment made with one."
}

# What the installed state depends on: the two lists of requirements, the place, the Python.
state() {
    {
        cat "$1/pyproject.toml" "$1/constraints.txt"
        printf '%s\n' "$1"
        "$python" -c 'import sys; print(sys.version)'
    } | cksum
}

make_environment() {
    root=$1
    extra=$2
    if [ -n "${VIRTUAL_ENV:-}" ]; then
        environment=$VIRTUAL_ENV
        python=$environment/bin/python
        new_enough "$python" || fail "the active virtual environment ($environment) needs Python 3.11 or later, and has" \
            "$("$python" --version 2>&1 || true). Deactivate it, or make another."
    else
        environment=$root/.venv
        python=$environment/bin/python
        if ! { new_enough "$python" && has_pip "$python"; }; then
            base=$(find_python) || exit 2
            say "making .venv with $("$base" --version 2>&1)"
            "$base" -m venv --clear "$environment" ||
                fail "cannot make a virtual environment (on Debian and Ubuntu: install the package python3-venv)"
        fi
    fi

    # One stamp, written last: the state and the extra that are installed ("test" holds all of "").
    stamp=$environment/comp.stamp
    wanted=$(state "$root")
    installed=$(cat "$stamp" 2>/dev/null || true)
    if [ -x "$environment/bin/comp" ]; then
        case $installed in "$wanted [$extra]" | "$wanted [test]") return 0 ;; esac
    fi

    has_pip "$python" || "$python" -m ensurepip --upgrade >/dev/null 2>&1 ||
        fail "no pip in $environment: install pip there, or make the environment with python3 -m venv"
    say "installing into $environment (the first time this downloads PyTorch and takes some minutes)"
    (
        cd "$root" &&
            "$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${extra:+[$extra]}"
    ) || fail "the installation failed; the lines above say why"
    printf '%s\n' "$wanted [$extra]" >"$stamp"
}
