@testable import CrashLab
import Foundation
import Glibc
import TestSupport
import Testing

/// The layers that take a file system of their own.
@Suite(.enabled(if: LabPrograms.areBuilt, "needs the programs, built beside the tests"), .serialized)
struct DiskLayerTests {
    let scratch = TemporaryFolder("crashlab-disks", inMemory: true)
    private static let states = Budget.of(quick: 3, default: 10, full: 30)

    private func settings(_ name: String, on disk: String?) -> LayerSettings {
        var settings = LayerSettings(
            adapter: LabPrograms.layered(name), recorder: LabPrograms.recorder, scratch: scratch.path, failures: scratch.path,
            seed: UInt64.random(in: 0..<1 << 40))
        settings.seconds = 60
        settings.states = Self.states
        settings.disk = disk
        return settings
    }

    private func expectClean(_ report: LayerReport) {
        for failure in report.failures.prefix(3) { Issue.record("\(failure)") }
        #expect(report.skipped == nil && report.states > 0)
        print("\(report.layer): \(report.states) states, \(report.counts)")
    }

    private func run(_ layer: String, _ settings: LayerSettings) throws -> LayerReport {
        switch layer {
        case "shutdown": try Shutdowns.run(settings)
        case "block-log": try BlockLog.run(settings)
        default: try FullDisks.run(settings)
        }
    }

    private func expectFound(_ layer: String, in store: String = "plain-file", on disk: String) throws {
        var settings = settings(store, on: disk)
        settings.mostFailures = 1
        settings.states = .max
        let report = try run(layer, settings)
        let failure = try #require(report.failures.first)
        if layer == "block-log" { #expect(try Failure.reproduce(failure.folder, scratch: scratch.path) != nil) }
    }

    @Test(.enabled(if: SmallDisk.isPossible, "needs a small file system: root and a loop device"))
    func aFullDiskLosesNothingOfOurStore() throws {
        let disk = try SmallDisk(mebibytes: 24)
        try expectFound("full-disks", on: disk.path)
        expectClean(try run("full-disks", settings("varve", on: disk.path)))
    }

    @Test(.enabled(if: SmallDisk.isPossible, "needs a file system of its own: root and a loop device"))
    func aShutdownLosesNothingOfOurStore() throws {
        let disk = try LoopDisk()
        try expectFound("shutdown", on: disk.path)
        expectClean(try run("shutdown", settings("varve", on: disk.path)))
    }

    @Test(.enabled(if: LoggedVolume.isPossible, "needs block devices: root, /dev/fuse, qemu-storage-daemon"), arguments: ["ext4", "xfs"])
    func aLoggedDiskLosesNothingOfOurStore(type: String) throws {
        let file = scratch.path + "/volume"
        try LoggedVolume.make(type, file)
        try expectFound("block-log", in: "lmdb-nosync", on: file)
        expectClean(try run("block-log", settings("varve", on: file)))
        #expect(try LoopDisk.run(["losetup", "--list", "--noheadings"]).contains(scratch.path) == false)
    }

    @Test(arguments: ["block-log", "full-disks", "shutdown"]) func withoutADiskTheyAreSkipped(layer: String) throws {
        let report = try run(layer, settings("lmdb", on: nil))
        #expect(report.skipped != nil)
    }

    /// The layer reads it, and looks for what it knows.
    @Test func aFileWithoutAFileSystemIsSkipped() throws {
        let file = scratch.path + "/zeros"
        try LabFile.write([UInt8](repeating: 0, count: 1 << 20), to: file)
        #expect(try BlockLog.run(settings("lmdb", on: file)).skipped != nil)
    }

    /// Not what the tests themselves lie on.
    @Test func anotherFileSystemIsLeftAlone() throws {
        let report = try Shutdowns.run(settings("lmdb", on: scratch.path))
        #expect(report.skipped != nil)
    }
}

/// An ext4 file system on a loop device that stays when it is unmounted.
private final class LoopDisk {
    let path: String
    private let device: String
    private let folder = TemporaryFolder("loop-disk", inMemory: true)

    private struct Failure: Error { let description: String }

    init() throws {
        path = folder.path + "/mounted"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let image = folder.path + "/image"
        _ = FileManager.default.createFile(atPath: image, contents: nil)
        guard truncate(image, 64 << 20) == 0 else { throw Failure(description: "no image: errno \(errno)") }
        device = try Self.run(["losetup", "--find", "--show", image]).trimmingCharacters(in: .whitespacesAndNewlines)
        _ = try Self.run(["mkfs.ext4", "-q", "-F", device])
        _ = try Self.run(["mount", device, path])
    }

    deinit {
        umount2(path, Int32(MNT_DETACH))
        _ = try? Self.run(["losetup", "--detach", device])
    }

    static func run(_ command: [String]) throws -> String {
        let process = Process(), output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] + command
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure(description: "\(command[0]) ended with \(process.terminationStatus)") }
        return String(decoding: text, as: UTF8.self)
    }
}

/// An empty file system in a file.
private enum LoggedVolume {
    private static let programs = ["/usr/bin/qemu-storage-daemon", "/sbin/mkfs.ext4", "/sbin/mkfs.xfs"]

    static var isPossible: Bool {
        geteuid() == 0 && access("/dev/fuse", W_OK) == 0 && access("/dev/loop-control", W_OK) == 0
            && programs.allSatisfy { (path: String) in access(path, X_OK) == 0 }
    }

    static func make(_ type: String, _ file: String) throws {
        _ = FileManager.default.createFile(atPath: file, contents: nil)
        truncate(file, 64 << 20)
        _ = try LoopDisk.run(
            type == "ext4" ? ["mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-E", "lazy_itable_init=0", file]
                : ["mkfs.xfs", "--unsupported", "-q", "-f", "-l", "size=8m", file])
    }
}
