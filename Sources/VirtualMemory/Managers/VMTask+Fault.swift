internal import AddressMap
internal import HostMemory
internal import VMTypes

extension VMTask {
    /// Why an access to `address` raised SIGBUS, or would: its page lies beyond the object's end, or could not be had when it
    /// was asked for last. Nil where nothing is known against it.
    public func lastFault(_ address: UInt64) -> MemoryFault? {
        store.withMemory { memory in
            guard let entry = map.lookup(address), case .object(let id, let offset) = entry.backing,
                let object = memory.mapped[id]
            else { return nil }
            let position = offset + (Page.trunc(address) - entry.start)
            let page = Int(position >> UInt64(Page.shift))
            guard object.livePages.contains(page) else {
                return MemoryFault(
                    object: id, offset: position, code: .memoryError, reason: "the page lies beyond the object's \(object.size) bytes")
            }
            if let managed = object.managed { return managed.lastFault(page) }
            guard object.isPoisoned(page), let error = object.lastFillError else { return nil }
            return MemoryFault(object: id, offset: position, code: .memoryError, reason: error.description)
        }
    }
}

extension MappedObject {
    fileprivate func isPoisoned(_ page: Int) -> Bool {
        switch home {
        case .exclusive(let mapping): mapping.isPoisoned(page)
        case .shared(let shared): shared.isPoisoned(page)
        }
    }
}
