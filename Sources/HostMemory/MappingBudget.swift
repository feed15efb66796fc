internal import Synchronization

/// How many kernel mappings the process's mappings may still take: together half of the host's limit.
enum MappingBudget {
    private static let used = Atomic<Int>(0)

    static var available: Int {
        max(1, HostCapabilities.current.maximumMappings / 2 - used.load(ordering: .relaxed))
    }

    static func use(_ count: Int) { used.wrappingAdd(count, ordering: .relaxed) }
}
