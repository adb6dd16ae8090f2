# Case hvm-64k: a gadget zero of dom0's dummy_hcd and the outer QEMU's stick go to a guest; before and after each of its steps
# the counters of our process are read.
both_there() { stick=$(usb_path 46f4:0001) && has_disk "$stick" && zero=$(usb_path 0525:a4a0); }

gadget_zero() {
    for module in dummy_hcd libcomposite usb_f_ss_lb; do modprobe "$module" || return; done
    gadget=/sys/kernel/config/usb_gadget/zero
    mkdir "$gadget" && mkdir "$gadget/configs/c.1" "$gadget/functions/SourceSink.0" || return
    echo 0x0525 >"$gadget/idVendor"
    echo 0xa4a0 >"$gadget/idProduct"
    # 1: the pattern that usbtest fills in and checks.
    echo 1 >"$gadget/functions/SourceSink.0/pattern"
    ln -s "$gadget/functions/SourceSink.0" "$gadget/configs/c.1/" || return
    echo dummy_udc.0 >"$gadget/UDC"
}

# counters PORT: transfers that went to libusb, those of exactly 64 KiB, the largest; of the bulk endpoints: requests, bytes
counters() {
    /case/xen-usb-dm ctl "$ctl" inspect "/pipeline/port/$1" 2>>/out/ctl | tee "/out/inspect.$1" | awk '
        $1 ~ /device\/transfers$/ { t = $2 } $1 ~ /transfers-of-64-kib$/ { k = $2 } $1 ~ /largest-transfer$/ { m = $2 }
        $1 ~ /ep[1-9][0-9]*(in|out)\/submitted$/ { s += $2 } $1 ~ /ep[1-9][0-9]*(in|out)\/bytes-(in|out)$/ { b += $2 }
        END { print t + 0, k + 0, m + 0, s + 0, b + 0 }'
}

run() {
    gadget_zero || { fail "no gadget zero"; return; }
    await 30 both_there || { fail "dom0 has not both devices: '$stick' '$zero'"; return; }
    say "gadget zero at $zero, $(cat "/sys/bus/usb/devices/$zero/speed") Mbit/s; stick at $stick, $(cat "/sys/bus/usb/devices/$stick/speed") Mbit/s"
    guest guest "$(with_ours "attach=1=host:$zero" "attach=2=host:$stick")" || return
    ctl=/run/xen-usb-dm/$(xl domid guest)/control
    open_line guest || { fail "no line to the guest"; return; }
    steps=0
    say "each transfer of a step is one request and one transfer of libusb:"
    while await_step; do
        # shellcheck disable=SC2086,SC2154 # the words of the step, which await_step sets
        set -- $step
        before=$(counters "$2")
        go
        await_step || break
        # shellcheck disable=SC2086,SC2046 # five numbers each
        judge "$@" $before $(counters "$2")
        go
    done
    finish guest 60
    [ "$steps" -eq 14 ] || fail "$steps of 14 steps"
}

# judge NAME PORT BYTES COUNT OTHER, counters before, counters after; OTHER: what goes around the data, at most 64 bytes each
judge() {
    steps=$((steps + 1))
    transfers=$((${11} - $6)) of64=$((${12} - $7)) largest=${13} requests=$((${14} - $9)) bytes=$((${15} - ${10}))
    say "$1: $4 of $3 bytes: $requests requests, $transfers to libusb, $of64 of 64 KiB, largest so far $largest, $bytes bytes"
    [ "$requests" -eq $(($4 + $5)) ] || fail "$1: $requests requests, not $(($4 + $5))"
    [ "$transfers" -eq $(($4 + $5)) ] || fail "$1: $transfers transfers to libusb, not $(($4 + $5))"
    [ "$3" -ne 65536 ] || [ "$of64" -eq "$4" ] || fail "$1: $of64 of 64 KiB, not $4"
    [ "$3" -ne 1048576 ] || [ "$largest" -eq 1048576 ] || fail "$1: largest $largest"
    [ "$bytes" -ge $(($3 * $4)) ] && [ "$bytes" -le $(($3 * $4 + 64 * $5)) ] || fail "$1: $bytes bytes"
}
