internal import VMTypes
