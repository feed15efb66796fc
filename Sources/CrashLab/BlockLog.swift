internal import CCrashRecorderHeader
internal import Glibc

/// Layer 2 of the lab: a real file system on a block device whose requests are logged. Of the log, images are made of what was durable
/// when the power went and of any part of what was pending, mounted, and what the file system makes of them is checked.
///
/// `LayerSettings.disk` is a file that holds a small empty file system; it stays as it is.
public enum BlockLog {
    static let layer = "block-log"

    public static func run(_ settings: LayerSettings) throws(LabError) -> LayerReport {
        func skipped(_ reason: String) -> LayerReport { .skipped(layer, because: reason) }
        guard let file = settings.disk else { return skipped("it needs an empty file system in a file; Tools/crashlab makes one") }
        guard geteuid() == 0 else { return skipped("only root may mount file systems") }
        for device in ["/dev/fuse", "/dev/loop-control"] where access(device, R_OK | W_OK) != 0 { return skipped("there is no \(device)") }
        guard Self.isInstalled(LoggedDisk.daemon) else { return skipped("\(LoggedDisk.daemon) is not installed (Debian: qemu-system-common)") }
        guard Self.isInstalled("setpriv") else { return skipped("setpriv is not installed (Debian: util-linux)") }
        guard LabFile.isFile(file) else { return skipped("\(file) is no file with a file system in it") }
        let volume = try BlockVolume(contentsOf: file)
        guard let type = volume.fileSystem else { return skipped("\(file) holds neither ext4 nor XFS nor btrfs") }
        var settings = settings
        // Half of the time a thread waits for devices.
        settings.workers *= 2
        return try LayerRun(layer, settings).perform { (run, number) throws(LabError) in
            // Nothing is left mounted, however the lab ends.
            guard crash_own_mounts() == 0 else { throw .system("making mounts of the lab's own") }
            try BlockLogWorker(run, number, volume, type).perform()
        }
    }

    private static func isInstalled(_ program: String) -> Bool {
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        return path.split(separator: ":").contains { access("\($0)/\(program)", X_OK) == 0 }
    }
}
