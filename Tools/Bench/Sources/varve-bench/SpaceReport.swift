import Foundation
import Varve

/// What a run of random page writes cost.
struct SpaceFigures {
    let name: String
    let heapBytes: Int
    let k: Int
    var seconds = Times()
    /// Bytes of the pages that were committed.
    var committedBytes = 0
    /// Bytes that the committing thread wrote: to the journal.
    var journalBytes = 0
    /// Bytes that the process wrote: journal, page store and catalog.
    var writtenBytes = 0
    /// Bytes of journal that had not settled at the end.
    var youngBytes = 0
    /// The page file in use, without what LMDB has to give out again.
    /// Sampled at even distances from the first write to the last, relative to the heap's bytes.
    private(set) var used: [Double] = []
    /// Of them, those after the space that may be dead has filled.
    private var steadilyUsed: [Double] = []
    private(set) var mostUsed = 0.0
    /// The page file as it lies on the disk: it never becomes smaller.
    private(set) var file = 0.0
    /// All files, the journal's ring too.
    private(set) var disk = 0.0

    init(name: String, heapBytes: Int, k: Int) {
        self.name = name
        self.heapBytes = heapBytes
        self.k = k
    }

    mutating func add(_ now: Store.Statistics, isSteady: Bool) {
        let inUse = Double(now.pageFileBytes) - Double(now.pageFileFreeBytes)
        used.append(inUse / Double(heapBytes))
        if isSteady { steadilyUsed.append(inUse / Double(heapBytes)) }
        mostUsed = max(mostUsed, inUse / Double(heapBytes))
        file = max(file, Double(now.pageFileBytes) / Double(heapBytes))
        disk = max(disk, Double(now.diskBytes) / Double(heapBytes))
    }

    var journal: Double { Double(journalBytes) / Double(committedBytes) }
    var lifetime: Double { Double(writtenBytes) / Double(committedBytes) }
    var meanUsed: Double { steadilyUsed.reduce(0, +) / Double(max(steadilyUsed.count, 1)) }
}

/// Prints figures of space, as a table or as a line of JSON each.
struct SpaceReport {
    let json: Bool

    private struct Row: Encodable {
        let run: String
        let heapBytes: Int
        let k: Int
        let committedBytes: Int
        let journalBytes: Int
        let writtenBytes: Int
        let youngBytes: Int
        let journalAmplification: Double
        let lifetimeAmplification: Double
        let meanUsed: Double
        let mostUsed: Double
        let file: Double
        let disk: Double
        let medianUs: Double
        let p99Us: Double
        let meanUs: Double
        let usedOverTime: [Double]
    }

    func begin(_ machine: Machine) {
        if json {
            JSONLine.print(machine)
        } else {
            Swift.print(
                """
                Linux \(machine.kernel), \(machine.processors) processors, \(machine.fileSystem) on \(machine.source), \
                \(machine.date)
                bytes written to the bytes committed; space to the heap's bytes
                """)
            Swift.print(
                "run       heap    k   journal  lifetime  used: mean   most    file    disk   commit: median µs      p99     mean")
        }
        fflush(nil)
    }

    func print(_ it: SpaceFigures) {
        if json {
            JSONLine.print(
                Row(
                    run: it.name, heapBytes: it.heapBytes, k: it.k, committedBytes: it.committedBytes,
                    journalBytes: it.journalBytes, writtenBytes: it.writtenBytes, youngBytes: it.youngBytes,
                    journalAmplification: it.journal, lifetimeAmplification: it.lifetime, meanUsed: it.meanUsed,
                    mostUsed: it.mostUsed, file: it.file, disk: it.disk, medianUs: it.seconds.median * 1e6,
                    p99Us: it.seconds.p99 * 1e6, meanUs: it.seconds.mean * 1e6, usedOverTime: it.used))
        } else {
            Swift.print(
                it.name.padding(toLength: 8, withPad: " ", startingAt: 0)
                    + String(
                        format: "%4d MiB %4d  %8.3f  %8.3f  %10.2f %6.2f  %6.2f  %6.2f   %17.0f %8.0f %8.0f", it.heapBytes >> 20,
                        it.k, it.journal, it.lifetime, it.meanUsed, it.mostUsed, it.file, it.disk, it.seconds.median * 1e6,
                        it.seconds.p99 * 1e6, it.seconds.mean * 1e6))
        }
        fflush(nil)
    }
}
