# Case hvm-hotplug: four orders of pulling the stick and detaching its port, plugging it in and attaching it.
stick_there() { stick=$(usb_path 46f4:0001) && has_disk "$stick"; }
pulled() { [ ! -e "/sys/bus/usb/devices/$stick" ]; }
plugged() { [ -e "/sys/bus/usb/devices/$stick/idVendor" ]; }
stick_back() { [ "$(driver_of "$stick")" = usb-storage ] && has_disk "$stick"; }
ours() { /case/xen-usb-dm ctl "$ctl" "$@" >/out/ctl 2>&1 || { fail "cycle $number: ctl $*: $(tail -n 1 /out/ctl)"; return 1; }; }
pull() { say "mark pull $number"; await 20 pulled || { fail "cycle $number: dom0 still has the stick"; return 1; }; }
plug() { say "mark plug $number"; await 20 plugged || { fail "cycle $number: dom0 has not got the stick"; return 1; }; }
gone() { await_guest guest 60 "gone $number" || return; }

run() {
    await 30 stick_there || { fail "dom0 has no stick"; return; }
    guest guest "$(with_ours "attach=1=host:$stick")" || return
    domain=$(xl domid guest)
    ctl=/run/xen-usb-dm/$domain/control
    process=$(cat "/run/xen-usb-dm/$domain/pid")
    await_guest guest 120 "disk 0" || return
    begin=$(now)
    number=0
    while [ $number -lt "$CYCLES" ]; do
        number=$((number + 1))
        # Some reads later: it is always in the middle of them.
        sleep 1.$((number * 37 % 100))
        [ $number -ne 2 ] || descriptors=$(ls "/proc/$process/fd" | wc -l)
        case $((number % 4)) in
            1) # pulled and plugged in: the rule stays
                pull && gone && plug || return
                ;;
            2) # detached and attached; between them the stick is dom0's
                ours detach 1 && gone || return
                await 20 stick_back || { fail "cycle $number: dom0's driver has not got the stick back"; return; }
                # The outer machine does as every time.
                pull && plug || return
                await 20 stick_back || { fail "cycle $number: dom0's driver has not got the stick"; return; }
                ours attach "1=host:$stick" || return
                ;;
            3) # detached, pulled, attached as a rule that waits, plugged in
                ours detach 1 && gone && pull || return
                ours attach "1=host:$stick" || return
                plug || return
                ;;
            0) # pulled, detached while there is nothing, plugged in, attached
                pull && gone || return
                ours detach 1 || return
                plug || return
                await 20 stick_back || { fail "cycle $number: dom0's driver has not got the stick"; return; }
                ours attach "1=host:$stick" || return
                ;;
        esac
        await_guest guest 90 "disk $number" || { /case/xen-usb-dm ctl "$ctl" list; return; }
    done
    say "$CYCLES cycles in $(since "$begin") s; open descriptors of our process after the first and the last: $descriptors, $(ls "/proc/$process/fd" | wc -l)"
    [ "$(ls "/proc/$process/fd" | wc -l)" -le $((descriptors + 2)) ] || fail "descriptors are left open"
    finish guest 60
    await 15 stick_back || fail "dom0 has not got its stick back after the guest's end"
}
