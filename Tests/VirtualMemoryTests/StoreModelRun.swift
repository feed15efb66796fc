import Foundation
import PageStore
import TestSupport
import Varve

struct Mismatch: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// A model, and a store beside it where `open` was called, through a random sequence that a seed gives.
final class StoreModelRun {
    private(set) var model = StoreModel()
    private let seed: UInt64
    private let options: Store.OpenOptions
    private var store: Store?
    private var tasks: [VMTask] = []
    private static let slotBytes: UInt64 = 1 << 20
    private static let slots = 6

    init(seed: UInt64, options: Store.OpenOptions) {
        self.seed = seed
        self.options = options
    }

    func open(_ path: String) throws {
        let store = try Store.open(path, options: options)
        self.store = store
        tasks = try (0..<2).map { try store.task(named: "task\($0)") }
    }

    /// What a crash or a close does to the model.
    func forgetUncommitted() { model.abandon() }

    func close() throws {
        try store?.close()
        store = nil
        model.abandon()
    }

    /// Step `index` of the sequence, on the model and the store.
    func step(_ index: Int, path: String) throws {
        var random = SeededGenerator(seed: seed &* 1_000_003 &+ UInt64(index))
        func pick<T>(_ list: [T]) -> T? { list.randomElement(using: &random) }
        func below(_ count: Int) -> Int { Int.random(in: 0..<max(1, count), using: &random) }
        switch below(40) {
        case 0..<14: for _ in 0...below(4) { write(&random) }
        case 14..<19:
            model.commit()
            let kind = below(3)
            try store?.commit(durability: kind == 1 ? .deferred : .synced, declaredOnly: kind == 2)
        case 19, 20:
            model.abandon()
            try store?.abandon()
        case 21, 22:
            let name = "o\(below(5))"
            guard model.committed.objects[name] == nil else { return }
            let size = 1 + below(24 * 4096)
            model.set(name, [UInt8](repeating: 0, count: size))
            try store?.createObject(named: name, size: UInt64(size))
        case 23..<27: try map(&random)
        case 27, 28:
            guard let slot = pick(model.working.regions.keys.sorted()), let region = model.working.regions[slot] else { return }
            model.working.regions[slot] = nil
            try task(region)?.deallocate(address: address(slot, region), size: UInt64(region.pageCount * 4096))
        case 29, 30:
            guard let slot = pick(model.working.regions.keys.sorted()), let region = model.working.regions[slot] else { return }
            let first = below(region.pageCount)
            let count = 1 + below(region.pageCount - first)
            let protection = pick([Protection.read, .none, .default, .default])!
            for page in first..<first + count { model.working.regions[slot]!.protections[page] = protection }
            try task(region)?.protect(address: address(slot, region) + UInt64(first * 4096), size: UInt64(count * 4096), protection)
        case 31:
            guard let name = pick(model.named), model.working.region(of: name) == nil, !model.touched.contains(name) else { return }
            let size = 1 + below(24 * 4096)
            let old = model.committed.objects[name]!
            // A region of the last commit maps it: abandoning would bring that back.
            guard model.committed.region(of: name) == nil else { return }
            model.set(name, Array(old.prefix(size)) + [UInt8](repeating: 0, count: max(0, size - old.count)))
            try store?.resizeObject(name, to: UInt64(size))
        case 32, 33:
            let name = "s\(below(4))"
            if model.snapshots[name] != nil {
                model.snapshots[name] = nil
                try store?.deleteSnapshot(name)
            } else {
                model.snapshots[name] = model.committed.objects.filter { !$0.key.hasPrefix("~") }
                try store?.createSnapshot(name)
            }
        case 34:
            guard model.working == model.committed, model.touched.isEmpty, let snapshot = pick(model.snapshots.keys.sorted()),
                let name = pick(model.snapshots[snapshot]!.keys.sorted()), let now = model.committed.objects[name]
            else { return }
            let then = model.snapshots[snapshot]![name]!
            guard then.count == now.count || model.committed.region(of: name) == nil else { return }
            model.set(name, then)
            try store?.rollback(to: .snapshot(snapshot), object: name)
        case 35:
            guard let source = pick(model.named), model.named.count < 8 else { return }
            let name = "c\(model.number())"
            model.set(name, model.committed.objects[source])
            try store?.clone(.init(name: source), as: name)
        case 36: try store?.reclaim()
        case 37:
            guard store != nil else {
                model.abandon()
                return
            }
            try close()
            try open(path)
        default: try check()
        }
    }

    private func task(_ region: StoreModel.Region) -> VMTask? { store == nil ? nil : tasks[region.task] }

    private func address(_ slot: Int, _ region: StoreModel.Region) -> UInt64 {
        store == nil ? 0 : tasks[region.task].windowBase + UInt64(slot) * Self.slotBytes
    }

    private func write(_ random: inout SeededGenerator) {
        guard let slot = model.working.regions.keys.sorted().randomElement(using: &random),
            let region = model.working.regions[slot], let size = model.working.objects[region.object]?.count
        else { return }
        let page = Int.random(in: 0..<region.pageCount, using: &random)
        let start = (region.firstPage + page) * 4096 + Int.random(in: 0..<4096, using: &random)
        let count = Int.random(in: 1...4096, using: &random)
        let byte = UInt8.random(in: 0...255, using: &random)
        let end = min(start + count, size, (region.firstPage + page + 1) * 4096)
        guard region.protections[page].contains(.write), start < end else { return }
        for offset in start..<end { model.working.objects[region.object]![offset] = byte }
        model.touched.insert(region.object)
        guard let task = task(region) else { return }
        let target = address(slot, region) + UInt64(start - region.firstPage * 4096)
        task.touch(address: target, size: UInt64(end - start))
        memset(task.pointer(target), Int32(byte), end - start)
    }

    private func map(_ random: inout SeededGenerator) throws {
        let free = (0..<Self.slots).filter { model.working.regions[$0] == nil }
        guard let slot = free.randomElement(using: &random) else { return }
        let index = Int.random(in: 0..<2, using: &random)
        let count = Int.random(in: 1...20, using: &random)
        let kind = Int.random(in: 0..<4, using: &random)
        let name = model.named.randomElement(using: &random)
        var region = StoreModel.Region(task: index, object: "", firstPage: 0, protections: Array(repeating: .default, count: count))
        if kind == 0 || name == nil {
            region.object = "~\(model.number())"
            model.working.objects[region.object] = [UInt8](repeating: 0, count: count * 4096)
            try task(region)?.allocate(address: address(slot, region), size: UInt64(count * 4096), anywhere: false)
        } else if let name, let bytes = model.working.objects[name] {
            let pages = (bytes.count + 4095) / 4096
            let first = Int.random(in: 0..<pages, using: &random)
            guard let info = try info(name) else {
                guard store == nil else { throw Mismatch("object \(name) is not there") }
                return mapModel(kind, name, first, slot, region)
            }
            if kind != 1, model.working.region(of: name) != nil { return }
            let size = UInt64(count * 4096)
            try task(region)?.map(
                address: address(slot, region), size: size, anywhere: false, object: info, offset: UInt64(first * 4096), copy: kind == 1)
            return mapModel(kind, name, first, slot, region)
        } else { return }
        model.working.regions[slot] = region
    }

    private func mapModel(_ kind: Int, _ name: String, _ first: Int, _ slot: Int, _ region: StoreModel.Region) {
        var region = region
        if kind == 1 {
            region.object = "~\(model.number())"
            let bytes = model.working.objects[name]!.dropFirst(first * 4096).prefix(region.pageCount * 4096)
            model.working.objects[region.object] = Array(bytes)
            model.touched.insert(region.object)
        } else {
            guard model.working.region(of: name) == nil else { return }
            region.object = name
            region.firstPage = first
        }
        model.working.regions[slot] = region
    }

    private func info(_ name: String) throws -> ObjectInfo? {
        guard let store else { return nil }
        return try store.object(named: name)
    }

    /// Compares memory, maps, the last commit and every snapshot.
    func check() throws {
        guard let store else { return }
        for (slot, region) in model.working.regions { try check(slot, region) }
        let mapped = tasks.reduce(0) { sum, task in sum + task.entries.reduce(0) { $0 + Int($1.length) } }
        guard mapped == model.working.regions.values.reduce(0, { $0 + $1.pageCount * 4096 }) else {
            throw Mismatch("\(mapped) bytes are mapped: \(tasks.map(\.entries)), not \(model.working.regions)")
        }
        // The head is what is on the disk.
        try store.flush()
        try compare(model.committed.objects.filter { !$0.key.hasPrefix("~") }, .head, store)
        guard try Set(store.snapshots().map(\.name)) == Set(model.snapshots.keys) else { throw Mismatch("other snapshots") }
        for (name, objects) in model.snapshots { try compare(objects, .snapshot(name), store) }
        let nameless = try store.objects().filter { $0.name.isEmpty }
        guard nameless.count == model.committed.objects.keys.filter({ $0.hasPrefix("~") }).count else {
            throw Mismatch("\(nameless.count) nameless objects, not \(model.committed.objects.keys.filter { $0.hasPrefix("~") })")
        }
        let uncommitted = try store.hasUncommittedChanges()
        // Nameless memory that came and went is no change.
        if !uncommitted, model.working.withoutLostMemory != model.committed.withoutLostMemory { throw Mismatch("uncommitted changes are not known") }
    }

    private func check(_ slot: Int, _ region: StoreModel.Region) throws {
        guard let task = task(region), let bytes = model.working.objects[region.object] else {
            throw Mismatch("no bytes of \(region.object)")
        }
        let base = address(slot, region)
        for page in 0..<region.pageCount {
            let start = (region.firstPage + page) * 4096
            let entry = try task.region(base + UInt64(page * 4096))
            guard entry.start <= base + UInt64(page * 4096), entry.current == region.protections[page] else {
                throw Mismatch("page \(page) of slot \(slot) is \(entry), not \(region.protections[page])")
            }
            guard region.protections[page].contains(.read), start < bytes.count else { continue }
            let count = min(4096, bytes.count - start)
            let same = bytes[start..<start + count].withUnsafeBytes {
                memcmp($0.baseAddress!, task.pointer(base + UInt64(page * 4096)), count) == 0
            }
            if !same { throw Mismatch("page \(page) of slot \(slot), \(region.object), holds other bytes") }
        }
    }

    private func compare(_ objects: [String: [UInt8]], _ state: Store.State, _ store: Store) throws {
        let found = Set(try store.objects(at: state).map(\.name).filter { !$0.isEmpty })
        guard found == Set(objects.keys) else { throw Mismatch("objects of \(state): \(found), not \(objects.keys)") }
        for (name, bytes) in objects {
            let same = try store.mapState(.init(name: name, state: state)).withBytes { $0.elementsEqual(bytes) }
            if !same { throw Mismatch("\(name) at \(state) holds other bytes") }
        }
    }
}
