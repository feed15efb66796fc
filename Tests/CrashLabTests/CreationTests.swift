@testable import CrashLab
import Foundation
import TestSupport
import Testing

/// The making of a store, cut at each of its steps: what is on the disk then is no store or a whole one, and once somebody was told of it,
/// it is there.
@Suite(.enabled(if: LabPrograms.areBuilt, "needs the programs, built beside the tests"))
struct CreationTests {
    let scratch = TemporaryFolder("crashlab-creation", inMemory: true)

    /// What is wrong with a store; nil where nothing is.
    private func verify(_ path: String) throws -> String? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: LabPrograms.varve)
        process.arguments = ["verify", path]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return process.terminationStatus == 0 ? nil : text
    }

    @Test func aStoreIsMadeWholeOrNotAtAll() throws {
        let folder = scratch.path + "/work"
        try LabFile.makeFolder(folder)
        let run = try Recording(
            [LabPrograms.varve, "init", folder + "/store", "--ring", "256K"], in: folder, on: SimulatedDisk(),
            recorder: LabPrograms.recorder, lying: [], trace: folder + ".trace")
        #expect(run.acknowledged.count == 1)
        var whole = 0
        for moment in run.moments {
            // What a disk may hold: what is durable, alone or with the names that were given since.
            var named = CrashImage(durable: moment.disk)
            named.names = moment.disk.current.names
            for image in [CrashImage(durable: moment.disk), named] {
                let cut = scratch.path + "/cut"
                LabFile.remove(cut)
                try LabFile.makeFolder(cut)
                try image.write(to: cut)
                if FileManager.default.fileExists(atPath: cut + "/store") {
                    whole += 1
                    let problem = try verify(cut + "/store")
                    #expect(problem == nil, "event \(moment.event)")
                    if problem != nil { return }
                } else {
                    #expect(moment.acknowledged == 0, "event \(moment.event): the store is gone")
                    if moment.acknowledged > 0 { return }
                }
            }
        }
        #expect(whole > 0)
    }
}
