import Foundation
import Synchronization
import TestSupport
import Testing
import Varve

/// Processes killed in the middle of what others see: exports, and requests over the control socket.
@Suite struct KilledMidwayTests {
    let fixture = StoreFixture()

    @Test(.timeLimit(.minutes(10)))
    func aKilledExportLeavesTheOldFileOrTheNewOne() async throws {
        try fixture.create()
        let size = 12 << 20
        let old = Data("what was there".utf8)
        let out = fixture.folder.path + "/out"
        do {
            let store = try fixture.open()
            try store.createObject(named: "a", size: UInt64(size))
            var left = 12
            try store.write("a", offset: 0, from: { () throws(StoreError) in
                left -= 1
                return left >= 0 ? [UInt8](repeating: 9, count: 1 << 20) : nil
            })
            try store.close()
        }
        var outcomes = ["old": 0, "new": 0]
        for _ in 0..<Budget.of(quick: 3, default: 10, full: 30) {
            try old.write(to: URL(fileURLWithPath: out))
            let microseconds = UInt32.random(in: 0...60_000)
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [path = fixture.path as String, out = out as String, microseconds = microseconds as UInt32] in
                quietEnd()
                let store = try Store.open(path)
                Thread.detachNewThread {
                    usleep(microseconds)
                    kill(getpid(), SIGKILL)
                }
                try store.export(.init(name: "a"), to: out)
                pause()
            }
            let now = try Data(contentsOf: URL(fileURLWithPath: out))
            #expect(now == old || now == Data(repeating: 9, count: size))
            outcomes[now == old ? "old" : "new"]! += 1
        }
        // The next export takes away what the killed ones left.
        let store = try fixture.open()
        try store.export(.init(name: "a"), to: out)
        #expect(try Data(contentsOf: URL(fileURLWithPath: out)) == Data(repeating: 9, count: size))
        #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path).sorted() == ["out", "store.varve"])
        try store.close()
        print("killed exports: \(outcomes)")
    }

    /// Asks for snapshots again and again, of whoever writes or as the writer of the moment.
    private final class Asker: Sendable {
        struct Answers {
            var made: [String] = []
            var refused = 0
            var wrong: [String] = []
        }
        private let answers = Mutex(Answers())
        private let isStopped = Atomic<Bool>(false)
        private let ended = DispatchSemaphore(value: 0)

        init(_ path: String, _ prefix: String) {
            Thread.detachNewThread { [self] in
                var number = 0
                while !isStopped.load(ordering: .relaxed) {
                    number += 1
                    ask(path, "\(prefix)-\(number)")
                    usleep(2_000)
                }
                ended.signal()
            }
        }

        private func ask(_ path: String, _ name: String) {
            do throws(StoreError) {
                let reader = try Store.open(path, options: .init(access: .read))
                defer { try? reader.close() }
                try reader.createSnapshot(name)
                answers.withLock { $0.made.append(name) }
            } catch {
                answers.withLock { answers in
                    if error.code == .locked { answers.refused += 1 } else { answers.wrong.append("\(name): \(error)") }
                }
            }
        }

        func stop() -> Answers {
            isStopped.store(true, ordering: .relaxed)
            ended.wait()
            return answers.withLock { $0 }
        }
    }

    @Test(.timeLimit(.minutes(10)))
    func aWriterKilledWhileItIsAskedGivesAClearAnswer() async throws {
        try fixture.create()
        do {
            let store = try fixture.open()
            try store.createObject(named: "a", size: 16 * 4096)
            try store.close()
        }
        var made: Set<String> = []
        var refused = 0
        for round in 0..<Budget.of(quick: 3, default: 10, full: 30) {
            let asker = Asker(fixture.path, "round\(round)")
            let microseconds = UInt32.random(in: 20_000...200_000)
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [path = fixture.path as String, microseconds = microseconds as UInt32] in
                quietEnd()
                var opened: Store?
                // The asker is the writer at moments.
                while opened == nil {
                    do { opened = try Store.open(path) } catch let error as StoreError where error.code == .locked { usleep(1_000) }
                }
                Thread.detachNewThread {
                    usleep(microseconds)
                    kill(getpid(), SIGKILL)
                }
                let store = opened!
                let task = try store.task(named: "main")
                let address = try task.entries.first?.start ?? task.map(size: 16 * 4096, object: store.object(named: "a"))
                var value = 0
                while true {
                    value += 1
                    for page in 0..<16 { task.pointer(address + UInt64(page * 4096)).storeBytes(of: value, as: Int.self) }
                    try store.commit()
                }
            }
            // Whoever asks next becomes the writer of the moment.
            usleep(50_000)
            let answers = asker.stop()
            #expect(answers.wrong.isEmpty, "\(answers.wrong.prefix(3))")
            made.formUnion(answers.made)
            refused += answers.refused
            let store = try fixture.open()
            let names = Set(try store.snapshots().map(\.name))
            #expect(made.isSubset(of: names), "lost: \(made.subtracting(names))")
            for name in names {
                try store.mapState(.init(name: "a", state: .snapshot(name))).withBytes { bytes in
                    #expect(Set((0..<16).map { bytes.load(fromByteOffset: $0 * 4096, as: Int.self) }).count == 1)
                }
                try store.deleteSnapshot(name)
            }
            made = []
            var findings: [Finding] = []
            _ = try store.verify { findings.append($0) }
            #expect(findings.isEmpty, "\(findings.prefix(3))")
            try store.close()
        }
        print("killed writers: \(refused) requests refused")
    }
}
