# Case hvm-faults: kills our process while the guest reads dom0's stick, has the guest reboot, takes memory from it.
pid() { cat "/run/xen-usb-dm/$domain/pid" 2>/dev/null; }
replaced() { new=$(pid) && [ "$new" != "$old" ] && [ -d "/proc/$new" ]; }
inspect() { /case/xen-usb-dm ctl "/run/xen-usb-dm/$domain/control" inspect / >"/out/inspect-$1" 2>&1; }
value() { sed -n "s|^/xen/.*$2 ||p" "/out/inspect-$1"; } # FILE NAME
stick_there() { stick=$(usb_path 46f4:0001) && has_disk "$stick"; }
rebooted() { new_domain=$(xl domid guest 2>/dev/null) && [ "$new_domain" != "$domain" ] && [ "$new_domain" -gt 0 ]; }
gone() { [ ! -d "/run/xen-usb-dm/$domain" ] && [ ! -d "/proc/$new" ]; }
stick_back() { [ "$(driver_of "$stick")" = usb-storage ] && has_disk "$stick"; }

# The emulated processor may take an interrupt twice, and guests of four die of it now and then, without us as well (see the
# rig's README): such a guest has three lives. Guests of two never died, so they have one, and hide nothing that we do.
triple_fault() { [ "$(xl domid guest 2>/dev/null)" != "$domain" ] && xl dmesg | grep -q "d${domain}v.* Triple fault"; }

run() {
    await 30 stick_there || { fail "dom0 has no stick"; return; }
    lives=1
    [ "$VCPUS" -le 2 ] || lives=3
    until live && heard; do
        lives=$((lives - 1))
        [ $lives -gt 0 ] && triple_fault || return
        say "the guest died of a triple fault: once more"
        failures=$((failures - 1))
        # xl starts it again by itself.
        await 60 rebooted
        end_guests
    done
}

# The guest's lines, and its failures added to ours. Its line begins anew when it reboots.
heard() {
    lines_of guest
    failures=$((failures + $(tr -d '\r' <"/out/guest.serial" | grep -c '^RIG fail ')))
}

live() {
    guest guest "vcpus = $VCPUS
$(with_ours "attach=1=host:$stick")" || return
    domain=$(xl domid guest)
    await_guest guest 120 "read 0" || return
    for part in $PARTS; do
        $part || return
    done
}

kills() {
    number=0
    while [ $number -lt "$KILLS" ]; do
        number=$((number + 1))
        await_guest guest 60 "reading $number" || return
        sleep 2
        old=$(pid)
        # The last time it stands still before: then a vCPU of the guest waits for it, as it would in a crash.
        [ $number -lt "$KILLS" ] || { kill -STOP "$old"; sleep 3; }
        begin=$(now)
        kill -KILL "$old"
        await 20 replaced || { fail "no new process after the kill"; return 1; }
        say "killed and started again in $(since "$begin") s"
        # The guest says so when its vCPU goes on, whatever became of its disk.
        await_guest guest 30 "beat $number" || return
        await_guest guest 120 "read $number" || return
        inspect "$number"
        say "took over: $(value "$number" took-over), requests finished for the dead process: $(value "$number" taken-over-requests)"
        [ "$(value "$number" took-over)" = yes ] || fail "the new process did not take the old one's server over"
        [ $number -lt "$KILLS" ] || [ "$(value "$number" taken-over-requests)" -gt 0 ] || fail "no vCPU waited for the dead process"
    done
}

hammer() {
    await_guest guest 60 "hammering" || return
    inspect before
    await_guest guest 200 "hammered" || return
    inspect after
    say "$VCPUS vCPUs: $(($(value after register-accesses) - $(value before register-accesses))) register and $(($(value after config-accesses) - $(value before config-accesses))) configuration accesses"
    [ "$(value after /vcpus)" = "$VCPUS" ] || fail "our process serves $(value after /vcpus) vCPUs"
}

balloon() {
    await_guest guest 60 "ballooning" || return
    # Dropped maps of the guest's memory are asked for by Xen each time pages go.
    for round in 1 2; do
        xl mem-set guest 448 || fail "xl mem-set 448"
        await_guest guest 240 "low $round" || return
        xl mem-set guest 512 || fail "xl mem-set 512"
        await_guest guest 240 "high $round" || return
    done
    inspect balloon
    say "balloon: Xen asked for $(($(value balloon invalidations) - $(value after invalidations))) drops of our maps, $(($(value balloon clears) - $(value after clears))) made"
    [ "$(value balloon invalidations)" -gt "$(value after invalidations)" ] || fail "Xen has not asked for maps to be dropped"
}

reboot() {
    await_guest guest 120 "rebooting" || return
    heard
    new=$(pid)
    await 60 rebooted || { fail "no new domain after the reboot: $(tail -n 3 "/var/log/xen/xl-guest.log")"; return 1; }
    say "the guest rebooted: domain $domain is domain $new_domain"
    await 20 gone || fail "something is left of domain $domain"
    domain=$new_domain
    new=$(pid)
    await_guest guest 120 "read again" || return
}

# Supervisor and process killed: nobody gives the stick back before somebody looks.
abandon() {
    supervisor=$(cat "/run/xen-usb-dm/$domain/supervisor")
    kill -KILL "$supervisor" "$new"
    xl destroy guest
    [ "$(driver_of "$stick")" != usb-storage ] || fail "the stick has its driver before anybody gave it back"
    /case/xen-usb-dm list >/out/list 2>&1 || fail "list: $(tail -n 1 /out/list)"
    await 15 stick_back && say "left by a dead process, given back by 'list': dom0 has its stick as $disk" || fail "driver of the stick is '$(driver_of "$stick")'"
}
