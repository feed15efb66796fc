import Foundation
import TestSupport
import Testing
import Varve

/// What the map forbids faults, what it allows does not, after any sequence of calls.
@Suite struct SemanticsAccessTests {
    let fixture = StoreFixture()

    enum Access: Int, CaseIterable { case load, store, loadUnmapped, loadBeyondEnd }

    /// After random steps, a process accesses all that is allowed; then one address that is not, and ends by its signal.
    @Test(arguments: everyMode.indices)
    func theMapIsEnforcedAfterRandomCalls(_ mode: Int) async throws {
        for round in 0..<Budget.of(quick: 2, default: 6, full: 20) {
            let seed = UInt64.random(in: 0...UInt64.max)
            let folder = fixture.folder.path + "/\(mode)-\(round)"
            let count = Int.random(in: 20...160)
            let wanted = Access(rawValue: round % Access.allCases.count)!
            // The model alone, for what is to be expected.
            let replay = try steps(seed, count, folder, mode: mode, isReal: false)
            let target = replay.forbidden(wanted, seed)
            let expectation: ExitTest.Condition =
                target == nil ? .exitCode(0) : wanted == .loadBeyondEnd ? .signal(SIGBUS) : .signal(SIGSEGV)
            await #expect(processExitsWith: expectation, "seed \(seed), \(count) steps, \(wanted), mode \(mode)") {
                [seed = seed as UInt64, count = count as Int, folder = folder as String, mode = mode as Int, kind = wanted.rawValue as Int] in
                quietEnd()
                let run = try steps(seed, count, folder, mode: mode, isReal: true)
                try run.accessAllowed()
                try Data().write(to: URL(fileURLWithPath: folder + ".allowed"))
                let wanted = Access(rawValue: kind)!
                if let (_, address) = run.forbidden(wanted, seed) {
                    let pointer = UnsafeMutableRawPointer(bitPattern: UInt(address))!
                    if wanted == .store { pointer.storeBytes(of: 1, as: UInt8.self) } else { exit(Int32(pointer.load(as: UInt8.self)) | 64) }
                }
                exit(0)
            }
            #expect(FileManager.default.fileExists(atPath: folder + ".allowed"), "seed \(seed): an allowed access faulted")
        }
    }
}

private func steps(_ seed: UInt64, _ count: Int, _ path: String, mode: Int, isReal: Bool) throws -> VMModelRun {
    let run = VMModelRun(firstWindow: StoreFixture.modelWindowBase, options: everyMode[mode])
    if isReal {
        try Store.create(path, options: .init(ringBytes: 1 << 20, windowBase: StoreFixture.modelWindowBase))
        try run.open(path)
    }
    var random = SeededGenerator(seed: seed)
    for _ in 0..<count { try run.step(random.next(), path: path) }
    return run
}

extension VMModelRun {
    /// An address at which the map forbids the access.
    fileprivate func forbidden(_ access: SemanticsAccessTests.Access, _ seed: UInt64) -> (task: String, address: UInt64)? {
        var found: [(task: String, address: UInt64)] = []
        for name in model.attached.sorted() {
            let task = model.working.tasks[name]!
            if access == .loadUnmapped, let last = task.map.keys.max() { found.append((name, (last + 1) << 12)) }
            for (page, slot) in task.map.sorted(by: { $0.key < $1.key }) {
                let isLive = slot.page < model.working.objects[slot.object]!.livePages
                switch access {
                case .load: if isLive, slot.current == .none { found.append((name, page << 12)) }
                case .store: if isLive, !slot.current.contains(.write) { found.append((name, page << 12)) }
                case .loadUnmapped: if task.map[page + 1] == nil { found.append((name, (page + 1) << 12)) }
                case .loadBeyondEnd: if !isLive, slot.current.contains(.read) { found.append((name, page << 12)) }
                }
            }
        }
        found.removeAll { $0.address >= model.working.tasks[$0.task]!.base + VMModel.windowSize }
        var random = SeededGenerator(seed: seed)
        return found.randomElement(using: &random)
    }

    /// Loads from and stores to every page that allows it.
    fileprivate func accessAllowed() throws {
        for name in model.attached.sorted() {
            let task = try handle(name)
            for (page, slot) in model.working.tasks[name]!.map where slot.page < model.working.objects[slot.object]!.livePages {
                let pointer = task.pointer(page << 12)
                var byte: UInt8 = 0
                if slot.current.contains(.read) { byte = pointer.load(as: UInt8.self) }
                if slot.current.contains(.write) { pointer.storeBytes(of: byte, as: UInt8.self) }
            }
        }
    }
}
