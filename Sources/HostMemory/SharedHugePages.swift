/// Whether the kernel makes huge pages of memory files without being asked: a first store would make 512 pages dirty.
enum SharedHugePages {
    static let areUsed: Bool = {
        let setting = ProcessMaps.text("/sys/kernel/mm/transparent_hugepage/shmem_enabled") ?? ""
        return ["[always]", "[within_size]", "[force]"].contains { setting.contains($0) }
    }()
}
