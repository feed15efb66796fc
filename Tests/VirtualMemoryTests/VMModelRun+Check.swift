import Foundation
import Varve

extension VMModelRun {
    /// Compares every region of every attached task, as vm_region answers and as memory shows.
    func check() throws {
        guard store != nil else { return }
        for name in model.attached.sorted() {
            try checkMap(name)
            try checkMemory(name)
        }
        for task in terminated where !task.isTerminated { throw Mismatch("\(task.name) is not terminated") }
    }

    /// Compares a task's map.
    func checkMap(_ name: String) throws {
        guard store != nil else { return }
        let task = try handle(name)
        let regions = model.regions(of: name)
        let entries = task.entries
        guard entries.map(\.start) == regions.map(\.start), entries.map(\.end) == regions.map(\.end) else {
            throw Mismatch("\(name) has \(entries), not \(regions)")
        }
        for (entry, region) in zip(entries, regions) {
            let slot = region.slot
            guard entry.current == slot.current, entry.maximum == slot.maximum, entry.inheritance == slot.inheritance,
                entry.copied == slot.copied, entry.wiredCount == slot.wired, entry.backing.offset == slot.page << 12
            else { throw Mismatch("\(name) has \(entry), not \(region)") }
            guard let id = entry.backing.object else { throw Mismatch("\(name) has no object at \(region)") }
            if let known = identifiers[slot.object], known != id { throw Mismatch("\(region) shows object \(id), not \(known)") }
            if identifiers[slot.object] == nil, let other = identifiers.first(where: { $0.value == id }) {
                throw Mismatch("\(region) shows object \(id), as does \(other.key)")
            }
            identifiers[slot.object] = id
        }
    }

    private func checkMemory(_ name: String) throws {
        let task = try handle(name)
        var last: UInt64 = 0
        for region in model.regions(of: name) {
            let slot = region.slot
            let object = model.working.objects[slot.object]!
            // From the region's first address, and from the hole before it.
            for address in [region.start, last] {
                let info = try task.region(address)
                guard info.start == region.start, info.end == region.end, info.current == slot.current,
                    info.maximum == slot.maximum, info.inheritance == slot.inheritance, info.isCopied == slot.copied,
                    info.wiredCount == slot.wired, info.offset == slot.page << 12, info.object == identifiers[slot.object]
                else { throw Mismatch("the region at \(address) of \(name) is \(info), not \(region)") }
                if info.isShared != model.isShared(region, in: name) { throw Mismatch("the region \(info) of \(name) is shared, or not: \(region)") }
                let count = Int((region.end - region.start) >> 12)
                let differing = (0..<count).count { differs(slot.object, slot.page + UInt64($0)) }
                guard differing...count ~= info.dirtyPages, 0...count ~= info.residentPages else {
                    throw Mismatch("the region \(info) of \(name) has \(differing) changed pages")
                }
            }
            last = region.end
            for page in region.start >> 12..<region.end >> 12 {
                let number = slot.page + page - region.start >> 12
                guard slot.current.contains(.read), number < object.livePages else { continue }
                let same = object.bytes.withUnsafeBytes {
                    memcmp($0.baseAddress! + Int(number) * 4096, task.pointer(page << 12), 4096) == 0
                }
                if !same { throw Mismatch("page \(number) of object \(slot.object), at \(page << 12) of \(name), holds other bytes") }
            }
        }
        if (try? task.region(last)) != nil { throw Mismatch("\(name) has a region above \(last)") }
    }

    private func differs(_ object: Int, _ page: UInt64) -> Bool {
        guard let now = model.working.objects[object], let then = model.committed.objects[object], page < now.livePages else { return false }
        let range = Int(page) * 4096..<(Int(page) + 1) * 4096
        return now.bytes[range] != then.bytes[range]
    }

    /// Compares what the last commit and the snapshots hold.
    func checkCommitted() throws {
        guard let store else { return }
        try store.flush()
        let named = Dictionary(uniqueKeysWithValues: model.named.map { (model.committed.objects[$0]!.name!, $0) })
        let found = Set(try store.objects().map(\.name).filter { !$0.isEmpty })
        guard found == Set(named.keys) else { throw Mismatch("objects \(found), not \(named.keys)") }
        for (name, key) in named {
            let object = model.committed.objects[key]!
            try compare(.init(name: name), Array(object.bytes.prefix(object.size)), store)
        }
        for (snapshot, objects) in model.snapshots {
            for (name, bytes) in objects { try compare(.init(name: name, state: .snapshot(snapshot)), bytes, store) }
        }
    }

    private func compare(_ reference: Store.ObjectReference, _ bytes: [UInt8], _ store: Store) throws {
        let same = try store.mapState(reference).withBytes { found in
            found.count == bytes.count && bytes.withUnsafeBytes { $0.count == 0 || memcmp($0.baseAddress!, found.baseAddress!, $0.count) == 0 }
        }
        if !same { throw Mismatch("\(reference) holds other bytes") }
    }
}
