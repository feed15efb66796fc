internal import AddressMap
internal import Catalog
internal import HostMemory
internal import PageStore
internal import VMTypes

/// A task as it was at some version, read-only in memory; unmapped with its last reference.
///
/// Thread-safe. A region whose protection allowed no load allows none here.
public final class MappedTask: Sendable {
    /// Bytes that every region lies above its own address; 0 where the task's own window was free.
    public let shift: Int64
    private let window: AddressWindow
    private let mappings: [ExclusiveMapping]
    private let views: [ObjectID: ObjectView]

    init(store: Store, version: Version, _ task: Store.SavedTask) throws(StoreError) {
        let window: AddressWindow
        do throws(StoreError) { window = try AddressWindow(base: task.base, byteCount: Int(task.size)) } catch {
            guard error.code == .addressTaken else { throw error }
            window = try AddressWindow(base: nil, byteCount: Int(task.size))
        }
        let shift = Int64(bitPattern: window.base &- task.base)
        var views: [ObjectID: ObjectView] = [:]
        var mappings: [ExclusiveMapping] = []
        do throws(StoreError) {
            for entry in task.entries {
                guard let id = entry.object, try store.holds(id, at: version) else { continue }
                while true {
                    let view: ObjectView
                    if let known = views[id] { view = known } else { view = try store.pages.view(of: id, at: version) }
                    if store.checksOnMap, views[id] == nil { try store.checkAll(view) }
                    let mapping = try ExclusiveMapping(
                        address: entry.start &+ UInt64(bitPattern: shift),
                        pages: PageRange(start: Int(entry.offset >> UInt64(Page.shift)), count: Int(entry.end - entry.start) >> Page.shift),
                        provider: StorePager(view: view, size: view.size, fileDescriptor: view.fileDescriptor), writable: false,
                        demandFill: store.demandFill, minimumRun: store.leastMappedRun)
                    // What was mapped from a view that is no longer current may not be pinned: then once more.
                    guard view.isCurrent || !store.isWriter else {
                        mapping.unmap()
                        views[id] = nil
                        continue
                    }
                    views[id] = view
                    mappings.append(mapping)
                    let allowed = entry.current.subtracting(.write)
                    if allowed != .read { try mapping.protect(mapping.pages, allowed) }
                    break
                }
            }
        } catch {
            for mapping in mappings { mapping.unmap() }
            window.release()
            throw error
        }
        self.window = window
        self.shift = shift
        self.mappings = mappings
        self.views = views
    }

    /// Where an address of the task is in this process. Valid while this object lives.
    public func pointer(_ address: UInt64) -> UnsafeRawPointer {
        UnsafeRawPointer(bitPattern: UInt(address &+ UInt64(bitPattern: shift)))!
    }

    deinit {
        for mapping in mappings { mapping.unmap() }
        window.release()
    }
}
