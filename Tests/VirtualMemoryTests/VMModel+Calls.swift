import Varve

/// The calls that change a map, on the model.
extension VMModel {
    /// What a model's map call maps.
    enum Source {
        case nothing
        case dead
        case object(Int, rights: Protection)
        case entry(Int)
    }

    typealias Place = (address: UInt64, size: UInt64, mask: UInt64, anywhere: Bool)

    /// The pages that [address, address + size) touches; nil for none.
    static func outward(_ address: UInt64, _ size: UInt64) throws -> Range<UInt64>? {
        if size == 0 { return nil }
        let (sum, wraps) = address.addingReportingOverflow(size)
        if wraps || sum > UInt64.max - 4095 { throw Refusal(.invalidArgument) }
        return address >> 12..<(sum + 4095) >> 12
    }

    /// Bytes to map.
    static func length(_ place: Place, wrapping: KernReturn = .invalidArgument) throws -> UInt64 {
        if place.size == 0 || place.size > UInt64.max - 4095 { throw Refusal(.invalidArgument) }
        let length = (place.size + 4095) & ~4095
        if !place.anywhere, (place.address & ~4095).addingReportingOverflow(length).overflow { throw Refusal(wrapping) }
        return length
    }

    func place(_ task: Task, _ place: Place, wrapping: KernReturn = .invalidArgument) throws -> UInt64 {
        let length = try Self.length(place, wrapping: wrapping)
        let start = place.address & ~4095
        let end = task.base + Self.windowSize
        if !place.anywhere {
            if start & place.mask != 0 { throw Refusal(.noSpace) }
            if start < task.base || start > end || length > end - start { throw Refusal(.invalidAddress) }
            if task.map.keys.contains(where: { $0 << 12 >= start && $0 << 12 < start + length }) { throw Refusal(.noSpace) }
            return start
        }
        var x = max(start, task.base)
        while x < end, length <= end - x {
            let forbidden = x & place.mask & ~4095
            if forbidden != 0 {
                // The smallest larger address without this bit.
                let bit = UInt64(1) << (63 - UInt64(forbidden.leadingZeroBitCount))
                let (next, wraps) = (x & ~(bit - 1)).addingReportingOverflow(bit)
                if wraps { break }
                x = next
            } else if let obstacle = task.map.keys.filter({ $0 << 12 >= x && $0 << 12 < x + length }).max() {
                x = (obstacle + 1) << 12
            } else {
                return x
            }
        }
        throw Refusal(.noSpace)
    }

    mutating func map(
        _ name: String, _ place: Place, _ source: Source, offset: UInt64, copy: Bool, _ current: Protection,
        _ maximum: Protection, _ inheritance: Inheritance
    ) throws -> UInt64 {
        if !current.isWellFormed || !maximum.isWellFormed || !current.isSubset(of: maximum) { throw Refusal(.invalidArgument) }
        let length = try Self.length(place)
        if offset.addingReportingOverflow(place.size).overflow || offset.addingReportingOverflow(length).overflow {
            throw Refusal(.invalidArgument)
        }
        if case .nothing = source {
            let start = try self.place(working.tasks[name]!, place)
            let key = number()
            working.objects[key] = Object(size: Int(length))
            for page in 0..<length >> 12 {
                working.tasks[name]!.map[start >> 12 + page] = Slot(
                    object: key, page: page, current: current, maximum: maximum, inheritance: inheritance, copied: false)
            }
            return start
        }
        if offset % 4096 != 0 { throw Refusal(.invalidArgument) }
        var rights = Protection.all
        var pages: [Page]?
        switch source {
        case .nothing: break
        case .dead: throw Refusal(.invalidObject)
        case .object(_, let given): rights = given
        case .entry(let number):
            let entry = entries[number]!
            if entry.pages.contains(where: { working.objects[$0.object] == nil }) { throw Refusal(.invalidObject) }
            rights = entry.permission
            pages = entry.pages
        }
        if !(copy ? Protection.read : current.union(maximum)).isSubset(of: rights) { throw Refusal(.protectionFailure) }
        if let all = pages {
            let size = UInt64(all.count) << 12
            if offset > size || length > size - offset { throw Refusal(.invalidArgument) }
            pages = Array(all[Int(offset >> 12)..<Int((offset + length) >> 12)])
        }
        let start = try self.place(working.tasks[name]!, place)
        if case .object(let key, _) = source {
            pages = (0..<length >> 12).map { (key, offset >> 12 + $0, 0) }
        }
        if copy { pages = copies(of: pages!) }
        for (index, page) in pages!.enumerated() {
            working.tasks[name]!.map[start >> 12 + UInt64(index)] = Slot(
                object: page.object, page: page.page, current: current, maximum: maximum, inheritance: inheritance, copied: copy)
        }
        return start
    }

    /// A private copy of each piece.
    mutating func copies(of pages: [Page]) -> [Page] {
        var made: [Page] = []
        var key = 0
        for (index, page) in pages.enumerated() {
            if index == 0 || pages[index - 1].piece != page.piece { key = copy(of: page.object) }
            made.append((key, page.page, page.piece))
        }
        return made
    }

    mutating func copy(of object: Int) -> Int {
        var copy = working.objects[object]!
        copy.name = nil
        copy.isCopy = true
        copy.beneath = nil
        let key = number()
        working.objects[key] = copy
        return key
    }

    mutating func allocate(_ name: String, _ place: Place) throws -> UInt64 {
        if place.size == 0 { return 0 }
        let start = try self.place(working.tasks[name]!, place, wrapping: .invalidAddress)
        return try map(
            name, (start, place.size, 0, false), .nothing, offset: 0, copy: false, .default, .all, .copy)
    }

    mutating func deallocate(_ name: String, _ address: UInt64, _ size: UInt64) throws {
        guard let range = try Self.outward(address, size) else { return }
        let map = working.tasks[name]!.map
        for page in map.keys where range.contains(page) { working.tasks[name]!.map[page] = nil }
    }

    /// Every page of the range, from the lowest, until one is refused.
    func checked(_ name: String, _ range: Range<UInt64>, _ body: (Slot) throws -> Void = { _ in }) throws {
        let map = working.tasks[name]!.map
        var page = range.lowerBound
        while page < range.upperBound {
            guard let slot = map[page] else { throw Refusal(.invalidAddress) }
            try body(slot)
            page += 1
        }
    }

    mutating func protect(_ name: String, _ address: UInt64, _ size: UInt64, setMaximum: Bool, _ protection: Protection) throws {
        if !protection.isWellFormed { throw Refusal(.invalidArgument) }
        guard let range = try Self.outward(address, size) else { return }
        try checked(name, range) { if !protection.isSubset(of: $0.maximum) { throw Refusal(.protectionFailure) } }
        for page in range {
            if setMaximum {
                working.tasks[name]!.map[page]!.maximum = protection
                working.tasks[name]!.map[page]!.current.formIntersection(protection)
            } else {
                working.tasks[name]!.map[page]!.current = protection
            }
        }
    }

    mutating func inherit(_ name: String, _ address: UInt64, _ size: UInt64, _ inheritance: Inheritance) throws {
        guard let range = try Self.outward(address, size) else { return }
        for page in working.tasks[name]!.map.keys where range.contains(page) {
            working.tasks[name]!.map[page]!.inheritance = inheritance
        }
    }

    mutating func wire(_ name: String, _ address: UInt64, _ size: UInt64, _ access: Protection) throws {
        if !access.isWellFormed { throw Refusal(.invalidArgument) }
        guard let range = try Self.outward(address, size) else { return }
        try checked(name, range) { slot in
            if !access.isSubset(of: slot.current) { throw Refusal(.protectionFailure) }
            if access.isEmpty, slot.wired == 0 { throw Refusal(.invalidArgument) }
        }
        for page in range { working.tasks[name]!.map[page]!.wired += access.isEmpty ? -1 : 1 }
    }

    mutating func remap(_ name: String, _ place: Place, from source: String, _ sourceAddress: UInt64, copy: Bool, _ inheritance: Inheritance)
        throws -> (address: UInt64, current: Protection, maximum: Protection)
    {
        let length = try Self.length(place)
        let first = sourceAddress & ~4095
        if first.addingReportingOverflow(length).overflow { throw Refusal(.invalidArgument) }
        let pages = first >> 12..<(first + length) >> 12
        try checked(source, pages)
        let start = try self.place(working.tasks[name]!, place)
        let slots = pages.map { working.tasks[source]!.map[$0]! }
        var current = Protection.all, maximum = Protection.all
        var made = 0
        for (index, old) in slots.enumerated() {
            current.formIntersection(old.current)
            maximum.formIntersection(old.maximum)
            var slot = old
            slot.inheritance = inheritance
            slot.copied = copy
            slot.wired = 0
            if copy {
                if index == 0 || !isOneRegion(slots[index - 1], old) { made = self.copy(of: old.object) }
                slot.object = made
            }
            working.tasks[name]!.map[start >> 12 + UInt64(index)] = slot
        }
        return (start, current, maximum)
    }

    func isOneRegion(_ slot: Slot, _ next: Slot) -> Bool {
        var following = slot
        following.page += 1
        return following == next
    }

    mutating func makeEntry(
        _ name: String, _ address: UInt64, _ size: UInt64, _ permission: Protection, _ kind: MemoryEntry.Kind, parent: Int?
    ) throws -> Int {
        if !permission.isWellFormed { throw Refusal(.invalidArgument) }
        guard let range = try Self.outward(address, size) else { throw Refusal(.invalidArgument) }
        var pages: [Page] = []
        if let parent {
            let parent = entries[parent]!
            if !permission.isSubset(of: parent.permission) { throw Refusal(.protectionFailure) }
            if range.upperBound > UInt64(parent.pages.count) { throw Refusal(.invalidArgument) }
            if parent.pages.contains(where: { working.objects[$0.object] == nil }) { throw Refusal(.invalidObject) }
            pages = Array(parent.pages[Int(range.lowerBound)..<Int(range.upperBound)])
        } else if kind == .fresh {
            let key = number()
            working.objects[key] = Object(size: range.count << 12)
            pages = (0..<UInt64(range.count)).map { (key, $0, 0) }
        } else {
            try checked(name, range) { if !permission.isSubset(of: $0.maximum) { throw Refusal(.protectionFailure) } }
            let slots = range.map { working.tasks[name]!.map[$0]! }
            var made = 0, piece = 0
            for (index, slot) in slots.enumerated() {
                if index == 0 || !isOneRegion(slots[index - 1], slot) {
                    piece += 1
                    if kind == .copy { made = copy(of: slot.object) }
                }
                pages.append((kind == .copy ? made : slot.object, slot.page, piece))
            }
        }
        let number = number()
        entries[number] = Entry(pages: pages, permission: permission)
        return number
    }

    mutating func makeTask(_ name: String) {
        working.tasks[name] = Task(number: number(), base: nextWindow)
        attached.insert(name)
    }

    mutating func createChild(_ child: String, of parent: String, inherits: Bool) throws {
        if working.tasks[child] != nil { throw Refusal(.nameExists) }
        let regions = inherits ? regions(of: parent).filter { $0.slot.inheritance != .none } : []
        makeTask(child)
        let distance = (working.tasks[child]!.base &- working.tasks[parent]!.base) >> 12
        for region in regions {
            let isCopy = region.slot.inheritance == .copy
            let key = isCopy ? copy(of: region.slot.object) : region.slot.object
            for page in region.start >> 12..<region.end >> 12 {
                var slot = working.tasks[parent]!.map[page]!
                slot.object = key
                slot.wired = 0
                if isCopy { slot.copied = true }
                working.tasks[child]!.map[page &+ distance] = slot
            }
        }
    }

    mutating func terminate(_ name: String) {
        working.tasks[name] = nil
        attached.remove(name)
    }
}
