namespace XenUsbDm.Hosts.Xen;

// Xen/ serves one HVM domain as an ioreq server beside QEMU. Facts about the interface: Xen's public headers
// (xen/hvm/ioreq.h, xen/hvm/dm_op.h, cited as "ioreq.h", "dm_op.h") and the hypervisor's behaviour in 4.17 to 4.20.
//
//   XenHost            composes the machine, keeps the record for a take-over, ends with the domain
//     IoreqServer        server, shared page and event channels: finds the requests, answers them
//       IoreqHandler       what one request means to the machine
//         Ioreq              the 32 bytes of a request
//     SlotProbe          whether QEMU has our PCI slot too
//     XenMemory          guest memory, mapped in large pieces   (DirtyExtents: what was written, for a migration)
//     XenInterrupts      MSI, MSI-X and INTx as hypercalls
//     TakeOverRecord     what a new process needs when this one was killed   (RecordFile keeps it)
//   IXenDomain         the seam: every call to Xen; Native/Xen has the real one

/// <summary>Every cap and period of this host, with its reason.</summary>
public static class XenLimits
{
    /// <summary>Most vCPUs: the shared page holds this many requests, and Xen maps no second page of them.</summary>
    public const int MaxVcpus = IoreqLayout.PageBytes / IoreqLayout.Bytes;

    /// <summary>Most items of one request with a repeat count: Xen cuts them at a page border.</summary>
    public const int MaxRepeat = IoreqLayout.PageBytes;

    /// <summary>Bytes of a piece of guest memory that is mapped at once: few hypercalls, and little lost where memory is scattered.</summary>
    public const int BucketBytes = 1 << 20;

    /// <summary>Pages of a bucket.</summary>
    public const int BucketPages = BucketBytes / IoreqLayout.PageBytes;

    /// <summary>Buckets that stay mapped: 1 GiB of address space. Beyond it the one used longest ago goes.</summary>
    public const int Buckets = 1024;

    /// <summary>Buckets that one entry into the model may have in use: what is mapped stays mapped until the model returns.</summary>
    public const int MostBuckets = 1280;

    /// <summary>Runs of written pages that are kept before Xen is told.</summary>
    public const int DirtyExtents = 64;

    /// <summary>Rounds of the model between two looks at the event channels.</summary>
    public const int StepRounds = 16;

    /// <summary>The record is written at most this often, so that a guest that plays with its registers does not keep the disk busy.</summary>
    public const ulong RecordPeriodNanoseconds = 10_000_000;

    /// <summary>Ioreq servers that a domain may have (MAX_NR_IOREQ_SERVERS).</summary>
    public const int MaxServers = 8;

    /// <summary>
    /// How long after the start it is first asked whether QEMU has the slot too, if the guest has not looked at it by then:
    /// firmware does within seconds of the start, but a domain may stay paused. Then after twice as long, and so on.
    /// </summary>
    public const ulong SlotCheckNanoseconds = 15_000_000_000;

    /// <summary>How often it is asked at most.</summary>
    public const int SlotChecks = 8;

    /// <summary>PCI device number of the controller unless the operator names one: QEMU fills slots from below.</summary>
    public const int DefaultSlot = 0x1e;
}
