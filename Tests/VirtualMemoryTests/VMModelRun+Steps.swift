import Foundation
import PageStore
import TestSupport
import Varve

extension VMModelRun {
    private static let names = ["main", "b", "c", "d"]
    private static let protections: [Protection] = [
        .default, .default, .default, .read, .all, .none, [.read, .execute], .write, Protection(rawValue: 8),
    ]

    /// One step; `path` is where the store is.
    func step(_ number: UInt64, path: String) throws {
        var random = SeededGenerator(seed: number)
        func below(_ count: Int) -> Int { Int.random(in: 0..<max(1, count), using: &random) }
        if model.attached.isEmpty { return try attach(Self.names[below(2)]) }
        let name = model.attached.sorted().randomElement(using: &random)!
        switch below(60) {
        case 0..<9: try poke(name, &random)
        case 9..<16: try map(name, &random)
        case 16, 17: try allocate(name, &random)
        case 18..<22:
            let (address, size) = range(name, &random)
            try call("deallocate \(name) \(hex(address)) \(hex(size))", { try $0.deallocate(name, address, size) }) { _ in
                try self.handle(name).deallocate(address: address, size: size)
            }
        case 22..<26:
            let (address, size) = range(name, &random)
            let protection = Self.protections.randomElement(using: &random)!
            let setMaximum = below(5) == 0
            try call(
                "protect \(name) \(hex(address)) \(hex(size)) \(setMaximum) \(protection)",
                { try $0.protect(name, address, size, setMaximum: setMaximum, protection) }
            ) { _ in try self.handle(name).protect(address: address, size: size, setMaximum: setMaximum, protection) }
        case 26..<28:
            let (address, size) = range(name, &random)
            let inheritance = Inheritance.allCases.randomElement(using: &random)!
            try call("inherit \(name) \(hex(address)) \(hex(size)) \(inheritance)", { try $0.inherit(name, address, size, inheritance) }) { _ in
                try self.handle(name).inherit(address: address, size: size, inheritance)
            }
        case 28..<32: try remap(name, &random)
        case 32..<40: try moveBytes(name, &random)
        case 40: try wire(name, &random)
        case 41: try sync(name, &random)
        case 42: try behave(name, &random)
        case 43, 44: try makeEntry(name, &random)
        case 45:
            guard let number = model.entries.keys.sorted().randomElement(using: &random) else { return }
            model.released.append(model.entries[number]!)
            model.entries[number] = nil
            entries[number] = nil
        case 46: try child(name, &random)
        case 47:
            guard model.working.tasks.count > 1, below(2) == 0 else { return }
            model.terminate(name)
            let task = tasks[name]
            try call("terminate \(name)", { _ in }) { _ in try task?.terminate() }
            terminateHandles()
        case 48: try attach(Self.names[below(4)])
        case 49, 50, 51:
            model.commit()
            let kind = below(3)
            try call("commit \(kind)", { _ in }) { store in
                try store.commit(durability: kind == 0 ? .synced : .deferred, declaredOnly: kind == 2)
            }
            terminateHandles()
        case 52:
            model.abandon()
            try call("abandon", { _ in }) { try $0.abandon() }
            terminateHandles()
        case 53: try objects(&random)
        case 54: try keepers(&random)
        case 55:
            guard below(3) == 0 else { return }
            guard store != nil else { return forget() }
            try close()
            try open(path)
        case 56: try checkCommitted()
        case 57: try query(name, &random)
        case 58: try callTerminated(&random)
        default: try check()
        }
        if model.attached.contains(name) { try checkMap(name) }
    }

    private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

    // MARK: Values, extreme ones among them

    func address(_ name: String, _ random: inout SeededGenerator) -> UInt64 {
        let base = model.working.tasks[name]!.base
        let end = base + VMModel.windowSize
        switch Int.random(in: 0..<20, using: &random) {
        case 0: return [0, 1, 4095, 4096, base - 1, end, end - 1, end - 4096, end - 8192, .max, .max - 4095, .max - 4096, 1 << 63].randomElement(using: &random)!
        case 1..<12:
            guard let region = model.regions(of: name).randomElement(using: &random) else { return base }
            let pages = Int((region.end - region.start) >> 12)
            let address = region.start + UInt64(Int.random(in: 0...pages, using: &random)) << 12
            return Bool.random(using: &random) ? address : address + UInt64(Int.random(in: 0..<4096, using: &random))
        default:
            return base + UInt64(Int.random(in: 0..<48, using: &random)) << 12 + UInt64([0, 0, 1, 4095].randomElement(using: &random)!)
        }
    }

    private func size(_ random: inout SeededGenerator) -> UInt64 {
        switch Int.random(in: 0..<24, using: &random) {
        case 0:
            return [0, 0, 1, 4095, 4097, .max, .max - 4095, .max - 4096, 1 << 63, 1 << 62, VMModel.windowSize, VMModel.windowSize + 1, 1 << 44]
                .randomElement(using: &random)!
        case 1..<5: return UInt64.random(in: 1...20000, using: &random)
        default: return UInt64.random(in: 1...7, using: &random) << 12
        }
    }

    private func range(_ name: String, _ random: inout SeededGenerator) -> (UInt64, UInt64) { (address(name, &random), size(&random)) }

    /// A place that a mapping call can be tried at: nil where it would make a task too large for a model.
    private func place(_ name: String, _ random: inout SeededGenerator) -> VMModel.Place? {
        let masks: [UInt64] = [0, 0, 0, 0, 0, 0, 0xfff, 0x3000, 0x1_4000, 0x8000, .max, 1 << 40, 0xffff_f000]
        let place: VMModel.Place = (
            address(name, &random), size(&random), masks.randomElement(using: &random)!, Int.random(in: 0..<5, using: &random) > 1
        )
        let length = (try? VMModel.length(place)) ?? 0
        if length > 64 << 12, length <= VMModel.windowSize { return nil }
        return model.working.tasks[name]!.map.count + Int(min(length, 64 << 12) >> 12) > 160 ? nil : place
    }

    private func text(_ place: VMModel.Place) -> String {
        "at \(hex(place.address)) size \(hex(place.size)) mask \(hex(place.mask)) \(place.anywhere ? "anywhere" : "fixed")"
    }

    private func protections(_ random: inout SeededGenerator) -> (Protection, Protection) {
        if Int.random(in: 0..<4, using: &random) > 0 { return (.default, .all) }
        return (Self.protections.randomElement(using: &random)!, Self.protections.randomElement(using: &random)!)
    }

    // MARK: Calls

    private func map(_ name: String, _ random: inout SeededGenerator) throws {
        guard let place = place(name, &random) else { return }
        let (current, maximum) = protections(&random)
        let inheritance = Inheritance.allCases.randomElement(using: &random)!
        let copy = Bool.random(using: &random)
        var offset = UInt64(Int.random(in: 0..<6, using: &random)) << 12
        if Int.random(in: 0..<12, using: &random) == 0 {
            offset = [1, 4095, .max, .max - 4095, 1 << 63, (1 << 63) - 4096, 1 << 43, 1 << 62].randomElement(using: &random)!
        }
        var source = VMModel.Source.nothing
        let choice = Int.random(in: 0..<12, using: &random)
        if choice < 7, let key = model.named.randomElement(using: &random) {
            source = .object(key, rights: [Protection.all, .all, .all, .default, .read].randomElement(using: &random)!)
        } else if choice < 10, let number = model.entries.keys.sorted().randomElement(using: &random) {
            source = .entry(number)
        } else if choice == 10, model.deletions > 0 {
            source = .dead
        }
        var result: UInt64?
        let expected = try call(
            "map \(name) \(text(place)) \(source) offset \(hex(offset)) copy \(copy) \(current)/\(maximum) \(inheritance)",
            { try $0.map(name, place, source, offset: offset, copy: copy, current, maximum, inheritance) }
        ) { store in
            result = try self.handle(name).map(
                address: place.address, size: place.size, mask: place.mask, anywhere: place.anywhere,
                object: try self.port(source, store), offset: offset, copy: copy, current: current, maximum: maximum, inheritance: inheritance)
        }
        if result != expected, store != nil { throw Mismatch("mapped at \(String(describing: result)), not \(String(describing: expected))") }
    }

    private func port(_ source: VMModel.Source, _ store: Store) throws -> (any MemoryPort)? {
        switch source {
        case .nothing: return nil
        case .dead: return dead.last!
        case .entry(let number): return entries[number]!
        case .object(let key, let rights):
            let info = try store.object(named: model.committed.objects[key]!.name!)
            return rights == .all ? info : store.port(to: info, rights: rights)
        }
    }

    private func allocate(_ name: String, _ random: inout SeededGenerator) throws {
        guard let place = place(name, &random) else { return }
        var result: UInt64?
        let expected = try call("allocate \(name) \(text(place))", { try $0.allocate(name, (place.address, place.size, 0, place.anywhere)) }) { _ in
            result = try self.handle(name).allocate(address: place.address, size: place.size, anywhere: place.anywhere)
        }
        if result != expected, store != nil { throw Mismatch("allocated at \(String(describing: result)), not \(String(describing: expected))") }
    }

    private func remap(_ name: String, _ random: inout SeededGenerator) throws {
        guard let place = place(name, &random), let source = model.attached.sorted().randomElement(using: &random) else { return }
        let sourceAddress = address(source, &random)
        let copy = Bool.random(using: &random)
        let inheritance = Inheritance.allCases.randomElement(using: &random)!
        var result: (address: UInt64, current: Protection, maximum: Protection)?
        let expected = try call(
            "remap \(name) \(text(place)) from \(source) \(hex(sourceAddress)) copy \(copy) \(inheritance)",
            { try $0.remap(name, place, from: source, sourceAddress, copy: copy, inheritance) }
        ) { _ in
            result = try self.handle(name).remap(
                address: place.address, size: place.size, mask: place.mask, anywhere: place.anywhere, source: try self.handle(source),
                sourceAddress: sourceAddress, copy: copy, inheritance: inheritance)
        }
        guard store != nil, let expected else { return }
        if result! != expected { throw Mismatch("remapped as \(result!), not \(expected)") }
    }

    private func poke(_ name: String, _ random: inout SeededGenerator) throws {
        guard let region = model.regions(of: name).filter({ $0.slot.current.contains(.write) }).randomElement(using: &random) else { return }
        let start = UInt64.random(in: region.start..<region.end, using: &random)
        let count = min(UInt64.random(in: 1...9000, using: &random), region.end - start)
        guard !model.showsTail(name, start, count) else { return }
        let byte = UInt8.random(in: 0...255, using: &random)
        let bytes = [UInt8](repeating: byte, count: Int(count))
        guard (try? model.write(name, start, bytes)) != nil, let store else { return }
        _ = store
        let task = try handle(name)
        task.touch(address: start, size: count)
        memset(task.pointer(start), Int32(byte), Int(count))
    }

    private func moveBytes(_ name: String, _ random: inout SeededGenerator) throws {
        let (start, count) = range(name, &random)
        switch Int.random(in: 0..<7, using: &random) {
        case 4, 5: return try copyPages(name, &random)
        case 6: try readOverwrite(name, start, count)
        case 0, 1:
            var found: [UInt8] = []
            let expected = try call("read \(name) \(hex(start)) \(hex(count))", { try $0.read(name, start, count) }) { _ in
                found = try self.handle(name).read(address: start, size: count)
            }
            if store != nil, let expected, found != expected { throw Mismatch("read \(hex(start)) \(hex(count)) of \(name): other bytes") }
        case 2:
            let bytes = (0..<min(count, 20000)).map { _ in UInt8.random(in: 0...255, using: &random) }
            guard !model.showsTail(name, start, UInt64(bytes.count)) else { return }
            try call("write \(name) \(hex(start)) \(bytes.count)", { try $0.write(name, start, bytes) }) { _ in
                try bytes.withUnsafeBytes { try self.handle(name).write(address: start, $0) }
            }
        default:
            let target = address(name, &random)
            guard !model.showsTail(name, target, count) else { return }
            try call("copy \(name) \(hex(start)) \(hex(count)) to \(hex(target))", { try $0.copy(name, start, count, to: target) }) { _ in
                try self.handle(name).copy(source: start, size: count, destination: target)
            }
        }
    }

    /// Whole pages from one region to another, or within one.
    private func copyPages(_ name: String, _ random: inout SeededGenerator) throws {
        let regions = model.regions(of: name)
        guard let source = regions.randomElement(using: &random), let target = regions.randomElement(using: &random) else { return }
        let from = UInt64.random(in: source.start >> 12..<source.end >> 12, using: &random) << 12
        let to = UInt64.random(in: target.start >> 12..<target.end >> 12, using: &random) << 12
        let count = min(UInt64.random(in: 1...6, using: &random) << 12, Bool.random(using: &random) ? source.end - from : .max)
        guard !model.showsTail(name, to, count) else { return }
        try call("copy \(name) \(hex(from)) \(hex(count)) to \(hex(to))", { try $0.copy(name, from, count, to: to) }) { _ in
            try self.handle(name).copy(source: from, size: count, destination: to)
        }
    }

    private func wire(_ name: String, _ random: inout SeededGenerator) throws {
        let (start, count) = range(name, &random)
        let access = [Protection.read, .default, .none, .none, Protection(rawValue: 16)].randomElement(using: &random)!
        try call("wire \(name) \(hex(start)) \(hex(count)) \(access)", { try $0.wire(name, start, count, access) }) { _ in
            try self.handle(name).wire(address: start, size: count, access: access)
        }
    }

    private func sync(_ name: String, _ random: inout SeededGenerator) throws {
        let (start, count) = range(name, &random)
        let flags = SyncFlags(rawValue: UInt32.random(in: 0..<64, using: &random) | (Int.random(in: 0..<20, using: &random) == 0 ? 64 : 0))
        if flags.contains(.killPages) || flags.contains(.invalidate), model.showsUncommittedCopy(name, start, count) { return }
        try call("sync \(name) \(hex(start)) \(hex(count)) \(flags)", { try $0.sync(name, start, count, flags) }) { _ in
            try self.handle(name).sync(address: start, size: count, flags)
        }
    }

    private func behave(_ name: String, _ random: inout SeededGenerator) throws {
        let (start, count) = range(name, &random)
        let behavior = MemoryBehavior.allCases.randomElement(using: &random)!
        try call("behave \(name) \(hex(start)) \(hex(count)) \(behavior)", { try $0.setBehavior(name, start, count, behavior) }) { _ in
            try self.handle(name).setBehavior(address: start, size: count, behavior)
        }
    }

    private func makeEntry(_ name: String, _ random: inout SeededGenerator) throws {
        guard model.entries.count < 8 else { return }
        var (start, count) = range(name, &random)
        let permission = Self.protections.randomElement(using: &random)!
        let kind = MemoryEntry.Kind.allCases.randomElement(using: &random)!
        var parent: Int?
        if Int.random(in: 0..<3, using: &random) == 0, let number = model.entries.keys.sorted().randomElement(using: &random) {
            parent = number
            if Bool.random(using: &random) { start = UInt64.random(in: 0..<20000, using: &random) }
        }
        if kind == .fresh, parent == nil, count > 1 << 20 { count = 4096 }
        var made: MemoryEntry?
        let expected = try call(
            "entry \(name) \(hex(start)) \(hex(count)) \(permission) \(kind) parent \(String(describing: parent))",
            { try $0.makeEntry(name, start, count, permission, kind, parent: parent) }
        ) { _ in
            made = try self.handle(name).makeMemoryEntry(
                address: start, size: count, permission: permission, kind: kind, parent: parent.map { self.entries[$0]! })
        }
        guard let expected, let made else { return }
        entries[expected] = made
        if made.size != UInt64(model.entries[expected]!.pages.count) << 12 { throw Mismatch("an entry of \(made.size) bytes") }
    }

    private func child(_ name: String, _ random: inout SeededGenerator) throws {
        let child = Self.names.randomElement(using: &random)!
        let inherits = Int.random(in: 0..<6, using: &random) > 0
        var made: VMTask?
        try call("child \(child) of \(name) \(inherits)", { try $0.createChild(child, of: name, inherits: inherits) }) { _ in
            made = try self.handle(name).createChild(named: child, inherits: inherits)
        }
        guard let made else { return }
        tasks[child] = made
        if made.windowBase != model.working.tasks[child]!.base { throw Mismatch("the window of \(child) begins at \(made.windowBase)") }
        try checkMap(child)
    }

    private func objects(_ random: inout SeededGenerator) throws {
        if Int.random(in: 0..<3, using: &random) == 0, let key = model.named.randomElement(using: &random) {
            let held = (Array(model.entries.values) + model.released).contains { $0.pages.contains { $0.object == key } }
            guard !held, !model.isMapped(key, in: model.working, onlyAttached: false) else { return }
            model.commit()
            let name = model.committed.objects[key]!.name!
            model.set(nil, at: key)
            model.deletions += 1
            try call("commit and delete \(name)", { _ in }) { store in
                try store.commit()
                self.dead.append(try store.object(named: name))
                try store.deleteObject(name)
            }
        } else if model.named.count < 5 {
            let key = model.number()
            let name = "o\(key)"
            let size = [UInt64.random(in: 0...40000, using: &random), UInt64.random(in: 1...10, using: &random) << 12].randomElement(using: &random)!
            // Which no call shows.
            let isExclusive = Int.random(in: 0..<3, using: &random) == 0
            model.set(VMModel.Object(size: Int(size), name: name), at: key)
            try call("create \(name) \(size) exclusive \(isExclusive)", { _ in }) { store in
                try store.createObject(named: name, size: size, residency: isExclusive ? .exclusive : .shared)
            }
        }
    }

    /// What the store does for itself, and snapshots.
    private func keepers(_ random: inout SeededGenerator) throws {
        switch Int.random(in: 0..<4, using: &random) {
        case 0: try call("reclaim", { _ in }) { _ = try $0.reclaim() }
        case 1: try call("optimize", { _ in }) { _ = try $0.optimize(nil) }
        default:
            let name = "s\(Int.random(in: 0..<3, using: &random))"
            let isThere = model.snapshots[name] != nil
            model.snapshots[name] = isThere
                ? nil
                : Dictionary(
                    uniqueKeysWithValues: model.named.map { key in
                        let object = model.committed.objects[key]!
                        return (object.name!, Array(object.bytes.prefix(object.size)))
                    })
            try call("snapshot \(name) \(isThere)", { _ in }) { store in
                if isThere { try store.deleteSnapshot(name) } else { try store.createSnapshot(name) }
            }
        }
    }
}
