# Case hvm-faults: kills our process while the guest reads, as often as told.
pid() { cat "/run/xen-usb-dm/$domain/pid" 2>/dev/null; }
replaced() { new=$(pid) && [ "$new" != "$old" ] && [ -d "/proc/$new" ]; }

run() {
    dd if=/dev/urandom of=/run/stick.img bs=1M count=8 2>/dev/null
    guest guest "$(with_ours attach=1=disk:/run/stick.img)" || return
    domain=$(xl domid guest)
    await_guest guest 120 "hash 0 $(sha256sum /run/stick.img | cut -d' ' -f1)" || return
    number=0
    while [ $number -lt "$KILLS" ]; do
        number=$((number + 1))
        await_guest guest 60 "reading $number" || return
        sleep 2
        old=$(pid)
        begin=$(now)
        kill -KILL "$old"
        await 20 replaced || { fail "no new process after the kill"; return; }
        say "killed and started again in $(since "$begin") s"
        # The guest says so when its vCPU goes on, whatever became of its disk.
        await_guest guest 30 "beat $number" || return
        await_guest guest 120 "hash $number $(sha256sum /run/stick.img | cut -d' ' -f1)" || return
        /case/xen-usb-dm ctl "/run/xen-usb-dm/$domain/control" inspect /xen >"/out/inspect-$number" 2>&1
        say "took over: $(grep -c 'took-over yes' "/out/inspect-$number"), requests finished for the dead process: $(sed -n 's/.*taken-over-requests //p' "/out/inspect-$number")"
        grep -q 'took-over yes' "/out/inspect-$number" || fail "the new process did not take the old one's server over"
    done
    finish guest 60
    await 15 gone || fail "$(ls /run/xen-usb-dm) is left of the domain"
}
gone() { [ ! -d "/run/xen-usb-dm/$domain" ] && [ ! -d "/proc/$new" ]; }
