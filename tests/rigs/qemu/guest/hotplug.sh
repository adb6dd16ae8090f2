# Case hotplug: devices come and go while a disk works; then the driver, the power and the guest itself go and come back.
. /case/storage.sh
. /case/hotplug-cycles.sh

stick() { name=$(devices | awk '$2 == 1 { print $1; exit }') && [ -n "$name" ] && have_disk "$name"; }
keyboard() { keys=$(devices | awk '$2 == 2 { print $1; exit }') && [ -n "$keys" ]; }
wanted() { case " $CASE_PARTS " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

# part NAME FUNCTION: runs it when it is wanted, and says how long it took
part() {
    wanted "$1" || return 0
    part_start=$(now)
    "$2"
    say "part $1: $(since "$part_start") s"
}

power() { cat "$1/power/runtime_status"; }
suspended() { [ "$(power "$1")" = suspended ]; }

# Reads the whole stick again and again, past the page cache, until /tmp/stop is there; notes what went wrong.
reader() {
    while [ ! -e /tmp/stop ]; do
        bench "/dev/$1" read 65536 64 1 >/dev/null 2>>/out/reader || { echo bad >>/tmp/bad; break; }
        echo round >>/tmp/rounds
    done
}

memory() { awk '/^MemFree|^Slab/ { printf "%s %d KiB ", $1, $2 }' /proc/meminfo; }
contents() { dd if="/dev/$disk" bs=1M 2>/dev/null | sha256sum | cut -d' ' -f1; }

# again WHAT: the stick is there, with the same data, past the page cache, and the keyboard too
again() {
    await 30 stick || { fail "$1: the stick is not back"; return; }
    await 30 keyboard || { fail "$1: the keyboard is not back"; return; }
    echo 3 >/proc/sys/vm/drop_caches
    if [ "$(contents)" = "$disk_hash" ]; then say "ok $1: same data"; else fail "$1: other data"; fi
}

driver() {
    for turn in 1 2 3 4 5; do
        echo "$pci" >/sys/bus/pci/drivers/xhci_hcd/unbind
        sleep 0.5
        [ "$(devices | wc -l)" -eq 0 ] || fail "devices without a driver"
        echo "$pci" >/sys/bus/pci/drivers/xhci_hcd/bind
        again "unbind and bind $turn"
    done
    for turn in 1 2 3; do
        rmmod xhci_pci && modprobe xhci_pci || fail "rmmod or modprobe xhci_pci"
        again "rmmod and modprobe $turn"
    done
    echo "$name" >/sys/bus/usb/drivers/usb/unbind
    echo "$name" >/sys/bus/usb/drivers/usb/bind
    again "unbind and bind of the device"
    for turn in 1 2 3; do
        echo 0 >"/sys/bus/usb/devices/$name/authorized"
        echo 1 >"/sys/bus/usb/devices/$name/authorized"
    done
    again "authorized off and on"
}

# Runtime suspend of the devices, the root hubs and the controller (D3hot); the disk's next command and a key wake them.
runtime() {
    event=$(ls -d /sys/bus/usb/devices/"$keys":1.0/*/input/input*/event* | head -n 1)
    cat "/dev/input/${event##*/}" >/tmp/typed &
    typed=$!
    all="/sys/bus/usb/devices/usb1 /sys/bus/usb/devices/usb2 /sys/bus/usb/devices/$name /sys/bus/usb/devices/$keys"
    echo enabled >"/sys/bus/usb/devices/$keys/power/wakeup"
    for path in $all; do
        echo 0 >"$path/power/autosuspend_delay_ms"
        echo auto >"$path/power/control"
    done
    # Without a delay Linux suspends the keyboard again within a millisecond of its own resume and cancels the transfer that
    # waits for reports; one that comes at that moment is dropped (usbmon: "C Ii -2:8 8 = 00000400 00000000"). Its default is 2 s.
    echo 1000 >"/sys/bus/usb/devices/$keys/power/autosuspend_delay_ms"
    # The disk's own runtime suspend holds the stick up as long as it is not allowed.
    for path in "/sys/block/$disk/device"; do echo 0 >"$path/power/autosuspend_delay_ms"; echo auto >"$path/power/control"; done
    echo auto >"/sys/bus/pci/devices/$pci/power/control"
    for path in $all "/sys/bus/pci/devices/$pci"; do
        await 20 suspended "$path" || fail "runtime suspend: ${path##*/} is $(power "$path")"
    done
    say "runtime suspend: $(for path in $all "/sys/bus/pci/devices/$pci"; do printf '%s %s, ' "${path##*/}" "$(power "$path")"; done)PCI state $(cat "/sys/bus/pci/devices/$pci/power_state")"
    say "seen asleep"
    if await 20 test -s /tmp/typed; then say "ok a key woke the keyboard"; else fail "runtime suspend: the key did not arrive"; fi
    kill $typed
    again "runtime suspend"
    for path in $all "/sys/bus/pci/devices/$pci"; do echo on >"$path/power/control"; done
}

# suspended_to STATE WAKE: WAKE is alarm or host
suspended_to() {
    before=$(dmesg | grep -c 'PM: suspend exit')
    case $2 in
        alarm)
            echo 0 >/sys/class/rtc/rtc0/wakealarm
            echo +4 >/sys/class/rtc/rtc0/wakealarm
            ;;
        host) say "seen sleeping-for-host" ;;
    esac
    echo "$1" >/sys/power/state || fail "suspend to $1"
    [ "$(dmesg | grep -c 'PM: suspend exit')" -gt "$before" ] || fail "$1: the kernel did not suspend"
    dmesg | tail -n 60 >"/out/suspend-$1-$2"
    again "suspend to $1 ($(cat /sys/power/mem_sleep)), woken by $2"
}

sleeping() {
    grep -q deep /sys/power/mem_sleep || { fail "no S3 in this guest: $(cat /sys/power/mem_sleep)"; return; }
    echo deep >/sys/power/mem_sleep
    suspended_to mem alarm
    suspended_to mem host
}

# What has to outlive a reboot is behind the end of the archive on the disk for results.
remember() { printf '%-200s' "hotplug $*" | dd of=/dev/vda bs=1M seek=63 conv=notrunc,sync 2>/dev/null; sync; }
remembered() { dd if=/dev/vda bs=1M skip=63 count=1 2>/dev/null | head -c 200 | tr -d '\0'; }

run() {
    await 60 stick || { fail "no stick"; return; }
    disk_hash=$(contents)
    set -- $(remembered)
    if [ "${1:-}" = hotplug ]; then
        failures=$3
        disk_hash=$4
        again "reboot number $2"
        if [ "$2" -eq 1 ]; then
            remember 2 $failures $disk_hash
            say "seen reset-me"
            sleep 60
            fail "system_reset did not come"
        fi
        return
    fi
    pci=$(basename "$(readlink -f /sys/bus/usb/devices/usb1/..)")
    await 30 keyboard || fail "no keyboard"
    part cycles cycles
    part driver driver
    part runtime runtime
    part sleep sleeping
    if wanted reboot; then
        say "reboot"
        remember 1 $failures $disk_hash
        cp /proc/uptime /out/uptime
        reboot -f
        sleep 60
        fail "no reboot"
    fi
}
