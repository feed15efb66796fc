@_exported import AddressMap
@_exported import HostMemory
@_exported import PageStore
@_exported import PersistentHeap
@_exported import VMTypes
@_exported import VirtualMemory
