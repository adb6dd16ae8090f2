# Functions of the cases that boot from a stick; sourced by rigs/qemu/cases.

# stick IMAGE MIB: partitioned stick with a FAT file system that BIOS (syslinux) and UEFI (systemd-boot) start from, and on it
# a Linux with guest/boot.sh. KEY, if given, is what the user must type to get that Linux.
stick() {
    local image=$1 append='console=ttyS0 quiet loglevel=0 rdinit=/init panic=-1 usbcore.autosuspend=-1 tsc=reliable'
    mkdir -p "$work/stick/loader/entries" "$work/stick/EFI/BOOT" "$work/initrd.d/case"
    cp "$here/guest/init" "$work/initrd.d/init"
    chmod +x "$work/initrd.d/init"
    cp "$here/guest/boot.sh" "$work/initrd.d/case/case"
    cp "$here/guest/storage.sh" "$work/initrd.d/case/"
    echo "CASE_ON=$on" >"$work/initrd.d/case/env"
    inside sh -c 'cd /work/initrd.d && find . | busybox cpio -o -H newc 2>/dev/null >/work/case.cpio'
    cat "$rig/guest/base.cpio" "$rig/guest/$kernel/modules.cpio" "$work/case.cpio" >"$work/stick/initrd"
    cp "$rig/guest/$kernel/vmlinuz" "$work/stick/vmlinuz"
    cat >"$work/stick/syslinux.cfg" <<END
SERIAL 0 115200
PROMPT ${prompt:-0}
TIMEOUT ${prompt:+1200}
DEFAULT ${default:-linux}
LABEL linux
  KERNEL /vmlinuz
  INITRD /initrd
  APPEND $append rig.by=syslinux
LABEL k
  KERNEL /vmlinuz
  INITRD /initrd
  APPEND $append rig.by=syslinux rig.key=k
END
    cat >"$work/stick/loader/entries/linux.conf" <<END
title linux
linux /vmlinuz
initrd /initrd
options $append rig.by=systemd-boot
END
    cp "$rig/qemu/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$work/stick/EFI/BOOT/BOOTX64.EFI"
    (cd "$work/stick" && find . -type f ! -name SHA256SUMS -exec sha256sum {} + >"$work/sums" && mv "$work/sums" SHA256SUMS)
    truncate -s "$2M" "$work/$image"
    inside sh -ec "
        cd /work
        echo '2048,,c,*' | sfdisk -q $image
        mkfs.vfat -F 32 --offset 2048 $image $(($2 * 1024 - 1024)) >mkfs.log
        mcopy -s -i $image@@1M stick/* ::
        syslinux --install --offset 1048576 $image
        dd if=/usr/lib/syslinux/mbr/mbr.bin of=$image bs=440 count=1 conv=notrunc status=none"
    rm -r "$work/stick" "$work/initrd.d"
}
