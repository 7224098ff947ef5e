#!/bin/sh
# Writes small FHIR R4 bundles of made-up patients into a folder, for a demo
# without real data:  sh patients.sh FOLDER
set -eu
folder=$1
mkdir -p "$folder"

observation() { # patient, number, LOINC code, what, value, unit, day
    cat <<JSON
    ,{"fullUrl": "urn:uuid:$1-obs-$2", "resource": {"resourceType": "Observation", "id": "$1-obs-$2", "status": "final",
      "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
      "code": {"coding": [{"system": "http://loinc.org", "code": "$3", "display": "$4"}], "text": "$4"},
      "subject": {"reference": "urn:uuid:$1"}, "effectiveDateTime": "2026-$7T09:30:00Z",
      "valueQuantity": {"value": $5, "unit": "$6", "system": "http://unitsofmeasure.org", "code": "$6"}}}
JSON
}

bundle() { # id, family, given, gender, birth date, city, SNOMED code of a condition, its name
    cat <<JSON
{"resourceType": "Bundle", "type": "transaction", "entry": [
    {"fullUrl": "urn:uuid:$1", "resource": {"resourceType": "Patient", "id": "$1",
      "identifier": [{"system": "urn:example:hospital-number", "value": "H-$1"}],
      "name": [{"use": "official", "family": "$2", "given": ["$3"]}], "gender": "$4", "birthDate": "$5",
      "address": [{"line": ["1 Sample Street"], "city": "$6", "country": "XX"}]}}
    ,{"fullUrl": "urn:uuid:$1-cond", "resource": {"resourceType": "Condition", "id": "$1-cond",
      "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
      "code": {"coding": [{"system": "http://snomed.info/sct", "code": "$7", "display": "$8"}], "text": "$8"},
      "subject": {"reference": "urn:uuid:$1"}, "onsetDateTime": "2024-03-01T08:00:00Z"}}
JSON
    i=0
    while [ $i -lt 12 ]; do
        day=$(printf '%02d-%02d' $((1 + i % 9)) $((3 + i * 2)))
        observation "$1" $((i * 3)) 8310-5 "Body temperature" "36.$((i % 10))" Cel "$day"
        observation "$1" $((i * 3 + 1)) 8867-4 "Heart rate" $((62 + i)) /min "$day"
        observation "$1" $((i * 3 + 2)) 29463-7 "Body weight" $((70 + i % 3)) kg "$day"
        i=$((i + 1))
    done
    echo ']}'
}

bundle 6f0a2c1e-0001 Sample Ada female 1957-12-10 Northtown 44054006 "Diabetes mellitus type 2" >"$folder/ada.json"
bundle 6f0a2c1e-0002 Example Jonas male 1983-05-02 Southport 195967001 "Asthma" >"$folder/jonas.json"
bundle 6f0a2c1e-0003 Muster Elif female 2001-08-19 Westfield 38341003 "Hypertension" >"$folder/elif.json"
