# Case hotplug: devices come and go while a disk works; then the driver itself is taken away and brought back.
. /case/storage.sh

zeros() { devices | grep -c 0525:a4a0; }
gone() { [ "$(zeros)" -eq 0 ]; }
came() { [ "$(zeros)" -eq 1 ]; }
stick() { name=$(devices | awk '$2 == 1 { print $1; exit }') && [ -n "$name" ] && have_disk "$name"; }

# Reads the whole stick again and again, past the page cache, until /tmp/stop is there; counts what went wrong.
reader() {
    while [ ! -e /tmp/stop ]; do
        bench "/dev/$1" read 65536 64 1 >/dev/null 2>>/out/reader || { echo bad >>/tmp/bad; break; }
        echo round >>/tmp/rounds
    done
}

memory() { awk '/^MemFree|^Slab/ { printf "%s %d KiB ", $1, $2 }' /proc/meminfo; }

run() {
    await 60 stick || { fail "no stick"; return; }
    disk_hash=$(dd if="/dev/$disk" bs=1M 2>/dev/null | sha256sum | cut -d' ' -f1)
    reader "$disk" &
    say "await-plug"
    cycle=0
    while [ $cycle -lt "$CASE_CYCLES" ]; do
        cycle=$((cycle + 1))
        # Every third is pulled without waiting; the host says so by the number, as the guest knows it.
        if [ $((cycle % 3)) -ne 0 ]; then
            await 30 came || { fail "cycle $cycle: the device did not come"; break; }
        fi
        say "seen $cycle"
        await 30 gone || { fail "cycle $cycle: the device did not go"; break; }
        say "round $cycle"
        [ $cycle -ne 10 ] || say "after 10 cycles: $(memory)"
    done
    say "after $cycle cycles: $(memory)"
    touch /tmp/stop
    wait
    [ ! -e /tmp/bad ] || fail "the reader saw an error: $(tail -n 1 /out/reader)"
    say "ok $cycle cycles, the reader went through $(wc -l </tmp/rounds) rounds of 4 MiB meanwhile"
    again "after hotplug"
    pci=$(ls /sys/bus/pci/drivers/xhci_hcd | grep 0000: | head -n 1)
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
    # Runtime suspend of the device and of the controller (D3hot), then work again.
    echo auto >"/sys/bus/pci/devices/$pci/power/control"
    for hub in /sys/bus/usb/devices/usb* "/sys/bus/usb/devices/$name"; do
        echo 0 >"$hub/power/autosuspend_delay_ms"
        echo auto >"$hub/power/control"
    done
    sleep 3
    say "power of the controller: $(cat "/sys/bus/pci/devices/$pci/power/runtime_status"), of the stick: $(cat "/sys/bus/usb/devices/$name/power/runtime_status")"
    again "runtime suspend"
    for hub in /sys/bus/usb/devices/usb* "/sys/bus/usb/devices/$name"; do echo on >"$hub/power/control"; done
    echo on >"/sys/bus/pci/devices/$pci/power/control"
    echo platform >/sys/power/pm_test 2>/dev/null
    if grep -q mem /sys/power/state 2>/dev/null && grep -q platform /sys/power/pm_test; then
        echo mem >/sys/power/state || fail "suspend (pm_test=platform)"
        again "suspend to RAM, all devices down and up"
    else
        say "no suspend to RAM in this kernel: $(cat /sys/power/state)"
    fi
}

# again WHAT: the stick is there, with the same data
again() {
    await 30 stick || { fail "$1: the stick is not back"; return; }
    got=$(dd if="/dev/$disk" bs=1M 2>/dev/null | sha256sum | cut -d' ' -f1)
    if [ "$got" = "$disk_hash" ]; then say "ok $1: same data"; else fail "$1: other data"; fi
}
