import Foundation
import Glibc
@testable import PageStore
import PageStoreModel
import Synchronization
import TestSupport
import Testing
import VMTypes

/// A child process works on a store and is killed; what it acknowledged must be there, and at most the step in flight.
@Suite struct KillTests {
    /// Every step that a crash may separate from the next is one that children are killed at.
    @Test func everyFailpointOfTheSourceIsNamed() throws {
        let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Sources/PageStore")
        var found: Set<String> = []
        for file in try FileManager.default.contentsOfDirectory(atPath: sources.path) {
            let text = try String(contentsOf: sources.appendingPathComponent(file), encoding: .utf8)
            for part in text.components(separatedBy: "Failpoint.pass(\"").dropFirst() {
                found.insert(String(part.prefix { $0 != "\"" }))
            }
        }
        #expect(found == Set(Failpoint.names))
        #expect(Failpoint.names.count == Set(Failpoint.names).count)
    }

    @Test func killedProcessesLeaveWhatTheyAcknowledged() throws {
        let wanted = Budget.of(quick: 90, default: 700, full: 2000)
        let each = Budget.of(quick: 1, default: 3, full: 12)
        let environment = ProcessInfo.processInfo.environment
        let base = environment["VARVE_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max / 2)
        print("kills: \(wanted) wanted, \(each) of them at each failpoint; from seed \(base)")
        let stores = try KillRound.Stores()
        let tally = Mutex(KillTally())
        let next = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: min(max(ProcessInfo.processInfo.activeProcessorCount, 2), 8)) { _ in
            let checker = Checker()
            while tally.withLock({ !$0.isDone(wanted, each) }) {
                let index = next.add(1, ordering: .relaxed).oldValue
                // A failpoint that no longer comes up must not make this run for ever.
                guard index < wanted * 3 + 200 else { break }
                let round = KillRound(index, seed: base &+ UInt64(index), behind: tally.withLock { $0.behind(each) })
                do {
                    let kills = try round.run(stores, checker)
                    tally.withLock { $0.add(kills) }
                } catch { tally.withLock { $0.problems.append("round \(index) of \(base), \(round): \(error)") } }
            }
        }
        let result = tally.withLock { $0 }
        print(
            "kills: \(result.kills.values.reduce(0, +)) children killed, \(result.total) stores compared after, "
                + "in \(next.load(ordering: .relaxed)) rounds: \(result.kills.sorted { $0.key < $1.key })")
        for problem in result.problems { Issue.record("\(problem)") }
        #expect(result.total >= wanted)
        for name in Failpoint.names { #expect(result.kills[name, default: 0] >= each, "kills at \(name)") }
    }
}

/// The kills that met a living child.
struct KillTally {
    /// By where; a child and the one that recovers its store are two.
    var kills: [String: Int] = [:]
    /// Stores that were left by a killed child, opened, verified and compared.
    var total = 0
    var problems: [String] = []

    /// The failpoints with fewer than `each` kills, or all of them.
    func behind(_ each: Int) -> [String] {
        let behind = Failpoint.names.filter { kills[$0, default: 0] < each }
        return behind.isEmpty ? Failpoint.names : behind
    }

    func isDone(_ wanted: Int, _ each: Int) -> Bool {
        problems.count > 4 || (total >= wanted && Failpoint.names.allSatisfy { kills[$0, default: 0] >= each })
    }

    mutating func add(_ places: [String]) {
        for place in places { kills[place, default: 0] += 1 }
        if !places.isEmpty { total += 1 }
    }
}
