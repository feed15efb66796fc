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
        layer == "shutdown" ? try Shutdowns.run(settings) : try FullDisks.run(settings)
    }

    private func expectFound(_ layer: String, on disk: String) throws {
        var settings = settings("plain-file", on: disk)
        settings.mostFailures = 1
        settings.states = .max
        let report = try run(layer, settings)
        #expect(!report.failures.isEmpty)
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

    @Test(arguments: ["full-disks", "shutdown"]) func withoutADiskTheyAreSkipped(layer: String) throws {
        let report = try run(layer, settings("lmdb", on: nil))
        #expect(report.skipped != nil)
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

    private static func run(_ command: [String]) throws -> String {
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
