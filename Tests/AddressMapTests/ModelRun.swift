import AddressMap
import VMTypes

/// A map and its model, to which the same calls are made.
struct ModelRun {
    var map: AddressMap
    var model: PageModel

    init(pages: UInt64) {
        map = AddressMap(bounds: 2 * page..<pages * page)
        model = PageModel(bounds: 2..<pages)
    }

    /// Performs `operations` and says where map and model first differ, if they do.
    static func difference(pages: UInt64, _ operations: [Operation]) -> String? {
        var run = ModelRun(pages: pages)
        for (index, operation) in operations.enumerated() {
            if let difference = run.perform(operation) ?? run.inspect() {
                return "operation \(index), \(operation): \(difference)"
            }
        }
        return nil
    }

    /// Compares the whole contents, which also says that no two entries could be one.
    private func inspect() -> String? {
        let entries = Array(map.entries)
        let expected = model.entries
        if entries != expected { return "\(entries) for \(expected)" }
        let violations = map.violations()
        return violations.isEmpty ? nil : "\(violations)"
    }

    private mutating func perform(_ operation: Operation) -> String? {
        switch operation {
        case .map(let address, let size, let mask, let anywhere, let template):
            return place(address, size, mask, anywhere, template)
        case .lookup(let address):
            let expected = model.entries.first { $0.end > address }
            if map.lookupOrNext(address) != expected { return "next is not \(String(describing: expected))" }
            let containing = expected.flatMap { $0.start <= address ? $0 : nil }
            return map.lookup(address) == containing ? nil : "found is not \(String(describing: containing))"
        case .remove(let address, let size):
            guard let range = try? map.outward(address: address, size: size) else { return nil }
            let removed = map.remove(range)
            let expected = model.remove(range)
            return removed == expected ? nil : "removed \(removed) for \(expected)"
        case .inherit(let address, let size, let inheritance):
            guard let range = try? map.outward(address: address, size: size) else { return nil }
            map.inherit(range, inheritance)
            _ = model.change(range, check: { _ in nil }) { $0.inheritance = inheritance }
            return nil
        case .protect(let address, let size, let setMaximum, let protection):
            guard let range = try? map.outward(address: address, size: size) else { return nil }
            let code = code { map throws(VMError) in try map.protect(range, setMaximum: setMaximum, protection) }
            if !protection.isWellFormed { return code == .invalidArgument ? nil : "\(code)" }
            let expected = model.change(range) { page in
                guard let page else { return .invalidAddress }
                return protection.isSubset(of: page.maximum) ? nil : .protectionFailure
            } _: { page in
                if setMaximum { page.maximum = protection }
                page.current = setMaximum ? page.current.intersection(protection) : protection
            }
            return code == expected ?? .success ? nil : "\(code) for \(String(describing: expected))"
        case .wire(let address, let size, let access):
            guard let range = try? map.outward(address: address, size: size) else { return nil }
            let code = code { map throws(VMError) in try map.wire(range, access: access) }
            if !access.isWellFormed { return code == .invalidArgument ? nil : "\(code)" }
            let expected = model.change(range) { page in
                guard let page else { return .invalidAddress }
                if access == .none { return page.wiredCount == 0 ? .invalidArgument : nil }
                return access.isSubset(of: page.current) ? nil : .protectionFailure
            } _: {
                $0.wiredCount += access == .none ? -1 : 1
            }
            return code == expected ?? .success ? nil : "\(code) for \(String(describing: expected))"
        }
    }

    /// Places and inserts an entry; an object is mapped at its own offset, so that neighbours merge.
    private mutating func place(
        _ address: UInt64, _ size: UInt64, _ mask: UInt64, _ anywhere: Bool, _ template: MapEntry
    ) -> String? {
        let expected = model.place(address, size, mask, anywhere: anywhere)
        do throws(VMError) {
            let range = try map.place(address: address, size: size, mask: mask, anywhere: anywhere)
            guard case .success(let pages) = expected, bytes(pages) == range else { return "\(range) for \(expected)" }
            var entry = template
            entry.start = range.lowerBound
            entry.end = range.upperBound
            if let object = entry.backing.object { entry.backing = .object(object, offset: range.lowerBound) }
            try map.insert(entry)
            model.insert(entry)
            return nil
        } catch {
            if case .failure(let refusal) = expected, refusal.code == error.code { return nil }
            return "\(error) for \(expected)"
        }
    }

    /// The code with which `body` comes back.
    private mutating func code(_ body: (inout AddressMap) throws(VMError) -> [EntryChange]) -> KernReturn {
        do throws(VMError) {
            _ = try body(&map)
            return .success
        } catch {
            return error.code
        }
    }
}
