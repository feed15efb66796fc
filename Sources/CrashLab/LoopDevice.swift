internal import CCrashRecorderHeader
internal import Glibc

/// A loop device over a file, and the file system on it where it is mounted. The device is gone with the last who has it open, and so
/// with a process that is killed.
final class LoopDevice {
    let path: String
    private let descriptor: Int32
    private var mounted: String?

    init(over file: Int32) throws(LabError) {
        let control = open("/dev/loop-control", O_RDWR | O_CLOEXEC)
        guard control >= 0 else { throw .system("/dev/loop-control") }
        defer { close(control) }
        while true {
            let number = ioctl(control, UInt(LOOP_CTL_GET_FREE))
            guard number >= 0 else { throw .system("no loop device is free") }
            let device = "/dev/loop\(number)"
            let opened = open(device, O_RDWR | O_CLOEXEC)
            guard opened >= 0 else { throw .system(device) }
            var config = loop_config()
            config.fd = UInt32(file)
            config.info.lo_flags = UInt32(LO_FLAGS_AUTOCLEAR)
            if ioctl(opened, UInt(LOOP_CONFIGURE), &config) == 0 {
                descriptor = opened
                path = device
                return
            }
            let error = LabError.system("setting \(device) up")
            // Somebody else took it in between.
            let isTaken = errno == EBUSY
            close(opened)
            guard isTaken else { throw error }
        }
    }

    /// Takes it down.
    deinit {
        if mounted != nil { try? unmount() }
        close(descriptor)
    }

    /// nil where it is mounted, else why the kernel does not.
    func mount(at folder: String, _ type: BlockVolume.FileSystem, readOnly: Bool) -> LabError? {
        let flags = UInt(MS_NOATIME) | (readOnly ? UInt(MS_RDONLY) : 0)
        guard Glibc.mount(path, folder, type.rawValue, flags, type.options) == 0 else { return .system("mounting \(type.rawValue)") }
        mounted = folder
        return nil
    }

    func unmount() throws(LabError) {
        guard let folder = mounted else { return }
        // A process that has just ended may still be on its way out.
        var tries = 0
        while umount2(folder, 0) != 0 {
            guard errno == EBUSY, tries < 100 else { throw .system("unmounting \(folder)") }
            tries += 1
            usleep(10_000)
        }
        mounted = nil
    }
}
