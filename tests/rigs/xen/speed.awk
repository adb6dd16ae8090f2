# The tables of the case hvm-speed, of its lines
#   bench SIDE ROUND KIND BYTES COUNT, ns of our processor time, ns of QEMU's, ioreqs, events, messages, maps, MB/s, us: least, median, 99 %, sum
#   traced SIDE ROUND KIND BYTES COUNT notifications Xen-calls usbfs-calls system-calls
#   memory our peak, our own, QEMU's peak, QEMU's own (KiB)

function median(list,    n, v, i, j, t) {
    n = split(list, v, " ")
    for (i = 2; i <= n; i++) {
        t = v[i] + 0
        for (j = i - 1; j > 0 && v[j] + 0 > t; j--) v[j + 1] = v[j]
        v[j + 1] = t
    }
    return v[int((n + 1) / 2)]
}
function share(wire, cost) { return wire / (wire + cost) }
function ratio(a, b) { return b > 0 ? sprintf("%.2f", a / b) : "-" }

$1 == "bench" && NF == 17 {
    row = $4 " " $5
    if (!(row in known)) { known[row]; name[++rows] = row }
    k = $2 " " row
    if ($13 <= 0) missing = 1
    rate[k] = rate[k] " " $13
    middle[k] = middle[k] " " $15
    # What the two processes used per MiB; the guest's other devices are QEMU's on both sides.
    mib = $5 * $6 / 1048576
    cpu[k] = cpu[k] " " ($2 == "ours" ? $7 : $8) / 1e6 / mib
    other[k] = other[k] " " ($2 == "ours" ? $8 : $7) / 1e6 / mib
    ioreqs[k] = ioreqs[k] " " $9 / $6
    events[k] = events[k] " " $10 / $6
    messages[k] = messages[k] " " $11 / $6
    next
}
$1 == "traced" && NF == 10 {
    k = $2 " " $4 " " $5
    notify[k] = $7 / $6
    calls[k] = $8 / $6
    usb[k] = $9 / $6
    all[k] = $10 / $6
    next
}
$1 == "memory" { memory = sprintf("our process: peak %d KiB, %d of its own at the end; QEMU: peak %d KiB, %d of its own", $2, $3, $4, $5); next }
{ print "  not understood: " $0; missing = 1 }

END {
    if (!rows || memory == "") exit 1
    printf "  %-5s %7s | %7s %7s %5s %7s | %7s %7s %5s | %7s %7s %5s\n", "kind", "bytes", "our", "peer", "ratio", "dom0", "our us", "peer", "ratio",
        "our CPU", "peer", "ratio"
    printf "  %-5s %7s | %7s %7s %5s %7s | %7s %7s %5s | %7s %7s %5s\n", "", "", "MB/s", "MB/s", "", "MB/s", "median", "", "", "ms/MiB", "ms/MiB", ""
    for (r = 1; r <= rows; r++) {
        k = name[r]
        split(k, f, " ")
        o = "ours " k
        p = "peer " k
        if (!(o in rate) || !(p in rate) || !(o in all) || !(p in all)) { print "  nothing of " k; missing = 1 }
        printf "  %-5s %7d | %7.3f %7.3f %5s %7.3f | %7d %7d %5s | %7.1f %7.1f %5s\n", f[1], f[2], median(rate[o]), median(rate[p]),
            ratio(median(rate[o]), median(rate[p])), median(rate["dom0 " k]), median(middle[o]), median(middle[p]),
            ratio(median(middle[o]), median(middle[p])), median(cpu[o]), median(cpu[p]), ratio(median(cpu[o]), median(cpu[p]))
    }
    print "  per read or write: ioreqs, events, interrupts of ours (counters); then by strace: event notifications, other Xen calls, usbfs calls, system calls"
    for (r = 1; r <= rows; r++) {
        k = name[r]
        split(k, f, " ")
        o = "ours " k
        p = "peer " k
        printf "  %-5s %7d | ours %5.1f %5.1f %5.1f; notify %5.1f Xen %5.1f usbfs %5.1f all %6.1f | peer: notify %5.1f Xen %5.1f usbfs %5.1f all %6.1f | ratio %s %s %s %s\n",
            f[1], f[2], median(ioreqs[o]), median(events[o]), median(messages[o]), notify[o], calls[o], usb[o], all[o],
            notify[p], calls[p], usb[p], all[p], ratio(notify[o], notify[p]), ratio(calls[o], calls[p]), ratio(usb[o], usb[p]), ratio(all[o], all[p])
    }
    # Bytes a microsecond: USB 2.0 at most 13 packets of 512 bytes in 125 us (section 5.8.4); 5 Gb/s less 8b/10b and a fifth for headers.
    print "  a projection, not a measurement: share of native speed if each ioreq and each interrupt costs 5 us, the wire is all that native takes"
    for (r = 1; r <= rows; r++) {
        k = name[r]
        split(k, f, " ")
        cost = 5 * (median(ioreqs["ours " k]) + median(messages["ours " k]))
        printf "  %-5s %7d | %4.0f us a command | USB 2 %5.1f %% | USB 3 %5.1f %%\n", f[1], f[2], cost, 100 * share(f[2] / 53.248, cost), 100 * share(f[2] / 400, cost)
    }
    print "  " memory
    exit missing
}
