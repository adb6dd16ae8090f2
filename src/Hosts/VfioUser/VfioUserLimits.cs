namespace XenUsbDm.Hosts.VfioUser;

// VfioUser/ serves one vfio-user client (QEMU's vfio-user-pci, Cloud Hypervisor) at a time, protocol 0.0 and 0.1 as in
// QEMU's docs/interop/vfio-user.rst, cited here as "vfio-user".
//
//   VfioUserHost     listens, keeps the machine, decides when the model may run
//     ClientSession  one client: bytes and descriptors in, whole messages out, replies back (MessageAssembler is pure)
//       VfioUserDevice  what each message means; knows nothing of sockets
//         VfioMemory      DMA maps     VfioInterrupts  eventfds     VersionMessage, Wire  the formats

/// <summary>Every cap on what a client may ask for, with its reason.</summary>
public static class VfioUserLimits
{
    /// <summary>Bytes of a message header.</summary>
    public const int HeaderBytes = 16;

    /// <summary>Most bytes of one region access: max_data_xfer_size as we announce it. The largest region has 16 KiB.</summary>
    public const int MaxTransferBytes = 64 << 10;

    /// <summary>Bytes of the fixed part of a region access.</summary>
    public const int RegionAccessBytes = 16;

    /// <summary>Bytes of one write in REGION_WRITE_MULTI, and the most that it writes.</summary>
    public const int MultiWriteBytes = 24;

    /// <summary>Most bytes of a message: a full region access. Larger ones end the connection, since they cannot be skipped safely.</summary>
    public const int MaxMessageBytes = HeaderBytes + RegionAccessBytes + MaxTransferBytes;

    /// <summary>Most descriptors with one message: as many as QEMU accepts of a server (max_msg_fds).</summary>
    public const int MaxDescriptors = 16;

    /// <summary>Most DMA maps at a time (vfio-user, max_dma_maps: the default when it is not announced).</summary>
    public const int MaxMaps = 65535;

    /// <summary>Most bytes of the capabilities' JSON: QEMU's has 230.</summary>
    public const int MaxVersionBytes = 4096;

    /// <summary>Rounds of the model after one message; a model that still has work due then goes on after the socket was looked at.</summary>
    public const int StepRounds = 64;

    /// <summary>
    /// How long the model pauses after an unmap when the client says nothing more. Clients take whole ranges of RAM away and
    /// put them back in pieces while firmware changes its windows (PAM, SMRAM); between the two, DMA would find no memory
    /// and end in a host system error.
    /// </summary>
    public const ulong UnmapPauseNanoseconds = 20_000_000;

    /// <summary>How long a client waits when it could not be taken for lack of descriptors or memory.</summary>
    public const ulong AcceptPauseNanoseconds = 1_000_000_000;
}
