# Case hvm-share: guest one is destroyed while both read and write; guest two goes on until its stick is detached.
place_of() { # SERIAL
    for path in /sys/bus/usb/devices/[0-9]*-*; do
        [ -f "$path/serial" ] || continue
        [ "$(cat "$path/serial")" != "$1" ] || { place=${path##*/}; return 0; }
    done
    return 1
}
stick_there() { place_of "$1" && has_disk "$place"; }
has_driver() { [ "$(driver_of "$1")" = usb-storage ] && has_disk "$1"; }
process_gone() { [ ! -d "/proc/$1" ]; }
ours() { name=$1; shift; /case/xen-usb-dm ctl "/run/xen-usb-dm/$name/control" "$@"; }
passes() { tr -d '\r' </out/two.serial | sed -n 's/^RIG pass //p' | tail -n 1; }
more_passes() { [ "$(passes)" -ge "$1" ]; }
transferring() { ours "$one" counters >/out/counters-one && [ "$(awk '$1 ~ /1$/ { print $3 }' /out/counters-one)" -gt 0 ]; }
errors() { ours "$two" counters | awk '$1 ~ /1$/ { print $7 }'; }

run() {
    for name in one two; do
        await 30 stick_there "RIG$name" || { fail "dom0 has no stick $name"; return; }
        eval "stick_$name=$place"
        guest "$name" "memory = 256
$(with_ours "attach=1=host:$place")" || return
        eval "$name=$(xl domid "$name")"
    done
    process_one=$(cat "/run/xen-usb-dm/$one/pid")
    process_two=$(cat "/run/xen-usb-dm/$two/pid")
    await_guest one 150 "pass 1" && await_guest two 150 "pass 1" || return
    [ "$(dirname "$(readlink -f "/sys/bus/usb/devices/$stick_one")")" = "$(dirname "$(readlink -f "/sys/bus/usb/devices/$stick_two")")" ] ||
        fail "the sticks are not on the same bus"
    ours "$one" inspect / | grep -qF "$stick_two" && fail "the process of guest one names the stick of guest two"
    ours "$two" inspect / | grep -qF "$stick_one" && fail "the process of guest two names the stick of guest one"
    ours "$two" attach "2=host:$stick_one" >/out/refused 2>&1 && fail "the process of guest two has taken guest one's stick"
    grep -q "in use by pid $process_one, domain $one" /out/refused && say "guest one's stick for guest two: $(tail -n 1 /out/refused)" ||
        fail "the message does not say who has the stick: $(tail -n 1 /out/refused)"
    ours "$two" detach 2 >/dev/null 2>&1

    await_guest one 60 "pass 2" && await_guest two 60 "pass 2" || return
    # Most of the time the guest works, not its stick: the right moment is waited for. The line below says whether it came.
    await 20 transferring
    xl destroy one
    before=$(passes)
    say "guest one destroyed after $(awk '$1 ~ /1$/ { print $2 " transfers, " $3 " of them outstanding" }' /out/counters-one)"
    await 10 process_gone "$process_one" || fail "the process of guest one is there 10 s after its domain"
    await 15 has_driver "$stick_one" || fail "dom0's driver has not got the stick of guest one back"
    await 60 more_passes $((before + 3)) || { fail "guest two did not go on"; return; }
    [ "$(cat "/run/xen-usb-dm/$two/pid")" = "$process_two" ] || fail "the process of guest two is another one"
    [ "$(errors)" = 0 ] || fail "guest two has had $(errors) transfer errors"
    ours "$two" counters | sed 's/^/RIG two: /'
    ours "$two" detach 1 || fail "detach"
    finish two 60
    await 15 has_driver "$stick_two" || fail "dom0's driver has not got the stick of guest two back"
}
