# Case hvm-speed: before and after each of the guest's measurements, processor time of our process and of QEMU, and our counters.
# In the measurements called traced, strace counts what the process that has the stick asks of its kernel.
place_of() { # SERIAL
    for path in /sys/bus/usb/devices/[0-9]*-*; do
        [ -f "$path/serial" ] && [ "$(cat "$path/serial")" = "$1" ] && { echo "${path##*/}"; return 0; }
    done
    return 1
}
all_there() { a=$(place_of ours) && b=$(place_of peer) && c=$(place_of dom0) && has_disk "$a" && has_disk "$b" && has_disk "$c"; }

# Nanoseconds of processor time of all threads of a process.
cpu() { cat "/proc/$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
counts() {
    /case/xen-usb-dm ctl "$ctl" inspect /xen 2>/dev/null | awk '$1 ~ /server\/events$/ { e = $2 } $1 ~ /requests\// { r += $2 }
        $1 ~ /interrupts\/messages$/ { m = $2 } $1 ~ /memory\/maps$/ { b = $2 } END { print r + 0, e + 0, m + 0, b + 0 }'
}
traced() { for file in "/proc/$1"/task/*/status; do grep -q '^TracerPid:[^0-9]*[1-9]' "$file" || return 1; done; }

dom0_alone() {
    (mkdir /run/bench && cd /run/bench && cpio -id '*bench' </guest/base.cpio) 2>/dev/null
    bench=$(find /run/bench -name bench -type f | head -n 1)
    for round in $(seq "$ROUNDS"); do
        for kind in read write; do
            for pair in 4096:40 65536:40 1048576:12; do
                say_to_file "bench dom0 $round $kind ${pair%:*} ${pair#*:} 0 0 0 0 0 0 $("$bench" "/dev/$disk" $kind "${pair%:*}" "${pair#*:}" 1)"
            done
        done
    done
}
say_to_file() { echo "$*" >>/out/speed; }

run() {
    await 30 all_there || { fail "dom0 has not all three sticks"; return; }
    say "sticks at $a, $b, $c, $(cat "/sys/bus/usb/devices/$a/speed") Mbit/s"
    dom0_alone
    guest guest "device_model_override = \"/case/xen-usb-dm-wrapper\"
device_model_args_hvm = [ \"-xen-usb-dm\", \"attach=1=host:$a\", \"-device\", \"qemu-xhci,id=peer,p2=4,p3=4\",
    \"-device\", \"usb-host,bus=peer.0,hostbus=${b%%-*},hostport=${b#*-}\" ]" || return
    ctl=/run/xen-usb-dm/$(xl domid guest)/control
    ours=$(cat /run/xen-usb-dm/*/pid)
    qemu=$(pgrep -o xen-qemu-system)
    [ -d "/proc/$qemu/task" ] || { fail "no QEMU"; return; }
    open_line guest || { fail "no line to the guest"; return; }
    steps=0
    while await_step; do
        # shellcheck disable=SC2086,SC2154 # the words of the step, which await_step sets: KIND SIDE ROUND read|write BYTES COUNT
        set -- $step
        case $1 in
            bench)
                before="$(counts)"
                before="$(cpu "$ours") $(cpu "$qemu") $before"
                go
                await_step || break
                after="$(cpu "$ours") $(cpu "$qemu")"
                after="$after $(counts)"
                say_to_file "$* $(echo "$before $after" | awk '{ print $7 - $1, $8 - $2, $9 - $3, $10 - $4, $11 - $5, $12 - $6 }') ${step#done }"
                ;;
            traced)
                # As it was before strace slowed our process down.
                [ -f /out/inspect ] || /case/xen-usb-dm ctl "$ctl" inspect / >/out/inspect 2>&1
                case $2 in ours) process=$ours ;; *) process=$qemu ;; esac
                strace -f -y -p "$process" -o "/out/trace.$2.$4.$5" 2>/dev/null &
                tracer=$!
                await 20 traced "$process" || fail "strace does not get hold of $2"
                go
                await_step || break
                kill -INT $tracer
                wait $tracer 2>/dev/null
                say_to_file "$* $(calls "/out/trace.$2.$4.$5")"
                gzip -f "/out/trace.$2.$4.$5"
                ;;
        esac
        steps=$((steps + 1))
        go
    done
    say_to_file "memory $(awk '/VmHWM|RssAnon/ { printf "%s ", $2 }' "/proc/$ours/status") $(awk '/VmHWM|RssAnon/ { printf "%s ", $2 }' "/proc/$qemu/status")"
    finish guest 60
    [ "$steps" -eq $((ROUNDS * 12 + 12)) ] || fail "$steps of $((ROUNDS * 12 + 12)) measurements"
}

# calls FILE: event notifications, other Xen calls, calls of usbfs, system calls in all
calls() {
    awk '/resumed>/ || /\+\+\+|---/ { next }
        / ioctl\([0-9]+<\/dev\/xen\/evtchn>/ { notify++ } / ioctl\([0-9]+<\/dev\/xen\/privcmd>/ { calls++ }
        / ioctl\([0-9]+<\/dev\/bus\/usb/ { usb++ } { all++ }
        END { print notify + 0, calls + 0, usb + 0, all + 0 }' "$1"
}
