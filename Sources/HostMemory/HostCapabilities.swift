internal import CHostMemory
internal import Glibc
internal import VMTypes

/// What this host allows, found out by trying, once a process.
public struct HostCapabilities: Sendable {
    /// This host's.
    public static let current = HostCapabilities()

    /// The kernel's release, as `uname -r` prints it.
    public let kernelRelease: String
    /// Bytes in a page of this host.
    public let pageSize: Int
    /// Whether asynchronous write protection and its scan work: they were tried on a page.
    public let asyncWriteProtect: Bool
    /// Why it does not work, with the name of the error; empty where it does.
    public let asyncWriteProtectReason: String
    /// Whether faults on absent pages can be served, those taken inside system calls included.
    public let demandFaults: Bool
    /// Why they can't be served; empty where they can.
    public let demandFaultsReason: String
    /// The most mappings that a process may have (vm.max_map_count).
    public let maximumMappings: Int
    /// The setting of transparent huge pages: always, madvise, never; empty where the kernel has none.
    public let transparentHugePages: String

    /// The better tracking that works here.
    public var preferredTracking: DirtyTracking { asyncWriteProtect ? .asyncWriteProtect : .signal }

    private init() {
        var name = utsname()
        uname(&name)
        kernelRelease = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        pageSize = sysconf(Int32(_SC_PAGESIZE))
        let limit = ProcessMaps.text("/proc/sys/vm/max_map_count") ?? ""
        maximumMappings = Int(limit.filter(\.isNumber)) ?? 65530
        let huge = ProcessMaps.text("/sys/kernel/mm/transparent_hugepage/enabled") ?? ""
        transparentHugePages = huge.split(separator: "[").last?.split(separator: "]").first.map(String.init) ?? ""

        let userfault = Userfault.shared
        asyncWriteProtectReason = Self.asyncFailure(userfault)
        asyncWriteProtect = asyncWriteProtectReason.isEmpty
        demandFaultsReason = Self.demandFailure(userfault)
        demandFaults = demandFaultsReason.isEmpty
    }

    /// Refuses what does not work here.
    func check(_ tracking: DirtyTracking?, _ demandFill: Bool) throws(StoreError) {
        guard pageSize == Page.size else {
            throw StoreError(.unsupported, "This host's pages have \(pageSize) bytes; a store's have \(Page.size)")
        }
        if tracking == .asyncWriteProtect, !asyncWriteProtect {
            throw StoreError(
                .unsupported, "Asynchronous write protection does not work here: \(asyncWriteProtectReason)",
                advice: "Track by signal")
        }
        if demandFill, !demandFaults {
            throw StoreError(
                .unsupported, "Demand faults do not work here: \(demandFaultsReason)",
                advice: "Map without demand filling")
        }
    }

    private static func demandFailure(_ userfault: Userfault) -> String {
        guard userfault.servesKernel else {
            return "userfaultfd for faults inside system calls: \(errorName(userfault.errnoOfOpening))"
                + " (needs root, vm.unprivileged_userfaultfd=1, or access to /dev/userfaultfd)"
        }
        return FaultService.isRunning ? "" : "the thread that serves faults could not be started"
    }

    /// Arms a page, stores to it, and looks whether exactly that shows.
    private static func asyncFailure(_ userfault: Userfault) -> String {
        guard userfault.isOpen else { return "userfaultfd: \(errorName(userfault.errnoOfOpening))" }
        guard userfault.has(HM_FEATURE_WP_ASYNC) else { return "the kernel has no UFFD_FEATURE_WP_ASYNC (Linux 6.7)" }
        guard hm_pagemap() >= 0 else { return "/proc/self/pagemap can't be opened" }
        do throws(StoreError) {
            let length = 2 * Page.size
            let base = try SystemCall.map(
                0, length, protection: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS)
            defer { try? SystemCall.unmap(base, length) }
            try SystemCall.register(base, length, mode: HM_REGISTER_WP)
            try SystemCall.writeProtect(base, length)
            let scanner = PagemapScanner(capacity: 4)
            let range = base..<base + UInt64(length)
            var found: [Range<UInt64>] = []
            try scanner.scan(range, .takeWritten) { found.append($0) }
            guard found.isEmpty else { return "armed pages read as written" }
            SystemCall.pointer(base)!.storeBytes(of: 1, as: UInt8.self)
            try scanner.scan(range, .takeWritten) { found.append($0) }
            try scanner.scan(range, .takeWritten) { found.append($0) }
            return found == [base..<base + UInt64(Page.size)] ? "" : "a store to an armed page did not show"
        } catch {
            return error.description + (error.errno.map { " (\(errorName($0)))" } ?? "")
        }
    }

    private static func errorName(_ number: Int32) -> String {
        let names: [Int32: String] = [
            EPERM: "EPERM", EACCES: "EACCES", ENOSYS: "ENOSYS", EINVAL: "EINVAL", ENOTTY: "ENOTTY", ENOMEM: "ENOMEM",
            EMFILE: "EMFILE", ENFILE: "ENFILE", ENODEV: "ENODEV",
        ]
        return names[number] ?? "errno \(number)"
    }
}
