internal import AddressMap
public import HostMemory
internal import PageStore
internal import Synchronization
internal import VMTypes

/// What a forked child of the process gets of attached tasks: each region as its inheritance says.
extension Store: ForkParticipant {
    public func prepareFork(_ plan: ForkPlan) {
        let memory = lockForFork()
        var pinned: [(entry: MapEntry, mapping: ExclusiveMapping, view: ObjectView)] = []
        for task in memory.tasks.values {
            for entry in task.map.entries where entry.inheritance != .none {
                guard let id = entry.backing.object, let object = memory.mapped[id] else { continue }
                switch object.home {
                case .shared:
                    // A manager answers no child.
                    if object.managed == nil { leave(entry, object, plan) }
                case .exclusive(let mapping):
                    // Private memory can't be shared: nothing is left.
                    guard entry.inheritance == .copy, let view = object.storePager?.view else { continue }
                    pinned.append((entry, mapping, view))
                }
            }
        }
        leave(pinned, plan)
        // What of a shadow file the child has, it has mapped.
        for object in memory.mapped.values { object.exclusiveMapping?.closeShadow(in: plan) }
        for descriptor in server.withLock({ $0 })?.descriptors ?? [] { plan.close(descriptor) }
        if let descriptor = pages.writerDescriptor { plan.close(descriptor) }
        pages.prepareFork()
    }

    public func forkIsOver() {
        pages.forkIsOver()
        unlockAfterFork()
    }

    /// Leaves what can be left of shared memory; what can't is absent in the child.
    private func leave(_ entry: MapEntry, _ object: MappedObject, _ plan: ForkPlan) {
        for mapping in object.mappings(in: entry.range) {
            guard let pages = mapping.pages(in: entry.range) else { continue }
            guard entry.inheritance == .share else {
                try? mapping.copy(pages, entry.current, in: plan)
                continue
            }
            guard (try? attachView(object)) != nil, (try? mapping.share(pages, entry.current, in: plan)) != nil else { continue }
            if let life = plan.life {
                if !object.children.contains(where: { $0 === life }) { object.children.append(life) }
            } else {
                object.isSharedForEver = true
            }
        }
    }

    /// Leaves exclusive memory, which shows the page store's file in parts: those stay pinned as long as the child has it.
    private func leave(_ regions: [(entry: MapEntry, mapping: ExclusiveMapping, view: ObjectView)], _ plan: ForkPlan) {
        guard !regions.isEmpty, let lease = try? pages.makeDescriptor(pinning: regions.map(\.view)),
            (try? plan.entrust(lease)) != nil
        else { return }
        for (entry, mapping, _) in regions {
            let first = mapping.pages.start + Int(entry.start - mapping.address) >> Page.shift
            try? mapping.leave(PageRange(start: first, count: entry.range.count >> Page.shift), entry.current, in: plan)
        }
    }
}
