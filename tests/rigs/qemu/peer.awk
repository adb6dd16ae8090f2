# The table of the case peer, of its marks (what was used until then) and measurements.

function median(list,    n, v, i, j, t) {
    n = split(list, v, " ")
    for (i = 2; i <= n; i++) {
        t = v[i] + 0
        for (j = i - 1; j > 0 && v[j] + 0 > t; j--) v[j + 1] = v[j]
        v[j + 1] = t
    }
    return v[int((n + 1) / 2)]
}

# A look before a measurement is of use when there is one after it as well (two marks later; "phase go" is between them).
FILENAME ~ /marks$/ {
    if ($7 == "idle") {
        if (key != "" && $1 == number + 2) {
            qemu[key] = qemu[key] " " ($2 - at[2]) / 1e6 / transfers
            our[key] = our[key] " " ($3 - at[3]) / 1e6 / transfers
            messages[key] = messages[key] " " ($4 - at[4]) / transfers
            awaited[key] = awaited[key] " " ($4 - at[4] - $5 + at[5]) / transfers
            signals[key] = signals[key] " " ($6 - at[6]) / transfers
        }
        key = ""
    } else {
        key = $7 " " $9 " " $10 " " $11 " " $12
        number = $1
        transfers = $13
        for (i = 2; i <= 6; i++) at[i] = $i
        if ($9 ~ /^usbtest/ && !(key in extra)) { extra[key]; extras = extras key "|" }
    }
    next
}

{
    key = $3 " " $4 " " $5 " " $6
    if (!(key in known)) { known[key]; name[++rows] = key }
    rate[$1 " " key] = rate[$1 " " key] " " $7
    middle[$1 " " key] = middle[$1 " " key] " " $9
    late[$1 " " key] = late[$1 " " key] " " $10
}

function ratio(a, b) { return b > 0 ? sprintf("%.2f", a / b) : "-" }
function figure(list, digits) { return list == "" ? "-" : sprintf("%." digits "f", median(list)) }

END {
    print "  per transfer: messages that crossed the socket, those of them that a guest processor waited for, interrupts, ms of processor time"
    printf "  %-8s %7s %3s %6s | %8s %8s %5s | %6s %6s %5s | %6s %6s | %5s %5s %4s | %5s %8s %8s\n", "kind", "bytes", "thr", "sticks",
        "our MB/s", "peer", "ratio", "our us", "peer", "ratio", "our99%", "peer", "msgs", "await", "irqs", "ours", "QEMU", "QEMU-peer"
    for (r = 1; r <= rows; r++) {
        k = name[r]
        split(k, f, " ")
        o = "ours " k
        p = "peer " k
        if (f[1] == "register") {
            printf "  one register read in the guest: ours %.1f us, peer %.1f us\n", median(middle[o]) / f[2], median(middle[p]) / f[2]
            continue
        }
        printf "  %-8s %7d %3d %6d | %8.2f %8.2f %5s | %6d %6d %5s | %6d %6d | %5s %5s %4s | %5s %8s %8s\n", f[1], f[2], f[3], f[4],
            median(rate[o]), median(rate[p]), ratio(median(rate[o]), median(rate[p])),
            median(middle[o]), median(middle[p]), ratio(median(middle[o]), median(middle[p])),
            median(late[o]), median(late[p]), figure(messages[o], 1), figure(awaited[o], 1), figure(signals[o], 1),
            figure(our[o], 2), figure(qemu[o], 2), figure(qemu[p], 2)
    }
    n = split(extras, list, "|")
    for (i = 1; i < n; i++) {
        split(list[i], f, " ")
        printf "  %s: %s messages, %s awaited, %s interrupts, %s ms of ours a transfer\n", f[2], figure(messages[list[i]], 2),
            figure(awaited[list[i]], 2), figure(signals[list[i]], 2), figure(our[list[i]], 3)
    }
}
