-- Health of the objects of eci-operator.io for Argo CD, which has none of its own for kinds that it does not know.
-- Put it into the ConfigMap argocd-cm under resource.customizations (see docs/argocd/README.md).
hs = { status = "Progressing", message = "Waiting for eci-operator." }

if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "Being deleted."
  return hs
end
if obj.status == nil or obj.status.conditions == nil then
  return hs
end

local said = {}
for _, condition in ipairs(obj.status.conditions) do
  said[condition.type] = condition
end
local function is_true(type)
  return said[type] ~= nil and said[type].status == "True"
end

if is_true("Paused") then
  hs.status = "Suspended"
  hs.message = said.Paused.message
elseif obj.status.observedGeneration ~= obj.metadata.generation then
  hs.message = "The newest change has not been seen yet."
elseif is_true("Stalled") then
  hs.status = "Degraded"
  hs.message = said.Stalled.message
elseif is_true("Reconciling") then
  hs.message = said.Reconciling.message
elseif is_true("Ready") then
  hs.status = "Healthy"
  hs.message = said.Ready.message
elseif said.Ready ~= nil then
  hs.message = said.Ready.message
end
return hs
