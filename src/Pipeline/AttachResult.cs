namespace XenUsbDm.Pipeline;

/// <summary>What became of an attempt to plug a device in.</summary>
public enum AttachResult
{
    /// <summary>The device is on the port and the frontend has been told.</summary>
    Attached,

    /// <summary>The pipeline has no port of that number.</summary>
    NoSuchPort,

    /// <summary>Another device is on the port.</summary>
    PortTaken,

    /// <summary>The port's <see cref="PortRule"/> forbids the device's speed.</summary>
    SpeedNotAllowed,

    /// <summary>This device is attached already, to this or another port of the pipeline.</summary>
    AlreadyAttached,
}
